"""The default boxes of the models equal those computed with a peer's code."""

import numpy as np
import pytest
import torch
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from ssd.config import ModelConfig
from ssd.geometry.boxes import to_corner_form
from ssd.geometry.default_boxes import default_boxes
from ssd.model.ssd import feature_maps
from ssd.model.vgg import SSD300, SSD512

COCO_SIZES = [21.0, 45, 99, 153, 207, 261, 315]


@pytest.mark.parametrize(
    ("pyramid", "config", "key"),
    [
        (SSD300, ModelConfig("vgg16", 300), "priors_ssd300_voc_noclip"),
        (SSD300, ModelConfig("vgg16", 300, box_sizes=COCO_SIZES), "priors_ssd300_coco_noclip"),
        (SSD512, ModelConfig("vgg16", 512), "priors_ssd512_voc_noclip"),
    ],
)
def test_default_boxes_equal_the_reference(pyramid, config, key, reference):
    boxes = default_boxes(feature_maps(pyramid, config), config.input_size)
    expected = torch.from_numpy(np.load(reference("default_boxes.npz"))[key])
    assert boxes.shape == expected.shape
    assert (boxes - expected).abs().max() < 1e-6


def test_clamped_boxes_equal_the_reference_up_to_the_centres(reference):
    """The peer pulls in centres too: of the 10×10 map's last row and column, at 304 of 300 px."""
    config = ModelConfig("vgg16", 300)
    boxes = default_boxes(feature_maps(SSD300, config), 300, clamp=True)
    expected = torch.from_numpy(np.load(reference("default_boxes.npz"))["priors_ssd300_voc_clip"])
    outside = (boxes[:, :2] > 1).any(1)
    assert outside.sum() == 19 * 6
    assert (boxes[~outside] - expected[~outside]).abs().max() < 1e-6
    assert (boxes[:, 2:] - expected[:, 2:]).abs().max() < 1e-6


@pytest.mark.parametrize("clamp", [True, False])
def test_boxes_equal_torchvisions(clamp):
    scales, steps = [size / 300 for size in COCO_SIZES], [8, 16, 32, 64, 100, 300]
    ratios = [list(ratios) for ratios in SSD300.aspect_ratios]
    theirs = DefaultBoxGenerator(ratios, scales=scales, steps=steps, clip=clamp)
    images = ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)])
    maps = [torch.zeros(1, 1, size, size) for size in SSD300.map_sizes]
    config = ModelConfig("vgg16", 300, box_sizes=COCO_SIZES)
    boxes = default_boxes(feature_maps(SSD300, config), 300, clamp=clamp)
    (expected,) = theirs(images, maps)
    torch.testing.assert_close(300 * to_corner_form(boxes), expected, atol=1e-4, rtol=0)
