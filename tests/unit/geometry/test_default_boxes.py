"""Default boxes of inputs that are square and of those that are not, beside a naive loop."""

import math

import pytest
import torch

from ssd.config import ModelConfig
from ssd.geometry.default_boxes import FeatureMap, default_boxes
from ssd.model.ssd import build_model, feature_maps


def naive(height, width, strides, sizes, ratios):
    """(centre x, centre y, width, height), relative to an input of these pixels."""
    boxes = []
    for index, stride in enumerate(strides):
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        y_step = stride if rows > 3 else height / rows
        x_step = stride if columns > 3 else width / columns
        low, high = sizes[index], sizes[index + 1]
        shapes = [(low, low), (math.sqrt(low * high),) * 2]
        for ratio in ratios[index]:
            long, short = low * math.sqrt(ratio), low / math.sqrt(ratio)
            shapes += [(long, short), (short, long)]
        for row in range(rows):
            for column in range(columns):
                for w, h in shapes:
                    x, y = (column + 0.5) * x_step, (row + 0.5) * y_step
                    boxes.append((x / width, y / height, w / width, h / height))
    return torch.tensor(boxes)


@pytest.mark.parametrize(("height", "width"), [(96, 160), (512, 100), (96, 96), (300, 300)])
def test_boxes_equal_a_naive_loop(height, width):
    config = ModelConfig("ssd7", [height, width])
    model = build_model(config, 3)
    sizes = [scale * min(height, width) for scale in (0.07, 0.17, 0.36, 0.62, 0.95)]
    ratios = [(2,), (2, 3), (2, 3), (2,)]
    expected = naive(height, width, (8, 16, 32, 64), sizes, ratios)
    torch.testing.assert_close(model.default_boxes, expected, atol=1e-6, rtol=1e-6)
    maps = feature_maps(model.backbone, config)
    assert torch.equal(default_boxes(maps, config.input_size), model.default_boxes)


def test_a_square_box_is_square_in_pixels_and_a_long_one_lies_as_it_should():
    map_ = FeatureMap((2, 3), (48, 160 / 3), 20, 45, (4.0,))
    boxes = default_boxes([map_], [96, 160]) * torch.tensor([160, 96, 160, 96])
    assert boxes.shape == (2 * 3 * 4, 4)
    expected = torch.tensor([[20.0, 20], [30, 30], [40, 10], [10, 40]])
    torch.testing.assert_close(boxes[:, 2:].view(6, 4, 2), expected.expand(6, 4, 2))
    centres = [(x, y) for y in (24, 72) for x in (160 / 6, 80, 160 * 5 / 6)]
    torch.testing.assert_close(boxes[::4, :2], torch.tensor(centres))


def test_one_number_and_two_equal_ones_are_the_same():
    one = default_boxes([FeatureMap(5, 8, 9, 14, (2.0,))], 40, clamp=True)
    two = default_boxes([FeatureMap((5, 5), (8, 8), 9, 14, (2.0,))], (40, 40), clamp=True)
    assert torch.equal(one, two)
