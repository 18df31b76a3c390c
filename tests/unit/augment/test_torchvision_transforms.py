"""torchvision's v2 transforms in `augment.library`."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from ssd.augment.library import library_transform
from ssd.augment.torchvision_transforms import TorchvisionTransform
from ssd.common.errors import UserError
from ssd.config import AugmentConfig
from ssd.structures import Sample

CHAIN = """
torchvision:
  - RandomPhotometricDistort: {p: 0.5}
  - RandomZoomOut: {side_range: [1, 3]}
  - RandomIoUCrop
  - RandomHorizontalFlip: {p: 0.5}
"""


@pytest.fixture
def sample():
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    boxes = np.array([[5, 10, 40, 44], [20, 3, 37, 20]], np.float32)
    return Sample("img7", 7, 0, pixels, boxes, np.array([3, 1]))


@pytest.fixture
def transform(tmp_path):
    def build(text, seed=3):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return library_transform(AugmentConfig(library=str(path)), seed)

    return build


def test_boxes_stay_corners_whatever_a_transform_makes_of_them(transform, sample):
    same = transform("torchvision: [{ConvertBoundingBoxFormat: {format: CXCYWH}}]")(sample)
    np.testing.assert_allclose(same.boxes, sample.boxes)


def test_a_flip_is_torchvisions(transform, sample):
    flipped = transform("torchvision: [{RandomHorizontalFlip: {p: 1}}]")(sample)
    np.testing.assert_array_equal(flipped.pixels, sample.pixels[:, ::-1])
    mirrored = sample.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [64, 0, 64, 0]
    np.testing.assert_allclose(flipped.boxes, mirrored)
    assert flipped.labels.tolist() == [3, 1]


def test_it_is_a_function_of_seed_epoch_and_image_in_any_process(transform, sample):
    change = transform(CHAIN)
    assert isinstance(change, TorchvisionTransform)
    samples = [replace(sample, epoch=epoch, key=key) for epoch in range(3) for key in range(3)]
    state = torch.get_rng_state()
    first = [change(one) for one in samples]
    assert torch.equal(torch.get_rng_state(), state)
    again = [pickle.loads(pickle.dumps(change))(one) for one in reversed(samples)][::-1]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    assert len({one.pixels.tobytes() for one in first}) == len(samples)
    other_seed = transform(CHAIN, 4)
    assert {one.pixels.tobytes() for one in first} != {
        other_seed(one).pixels.tobytes() for one in samples
    }


def test_objects_that_leave_the_image_are_gone(transform, sample):
    cut = transform("torchvision: [{CenterCrop: {size: [48, 8]}}]")(sample)
    assert cut.pixels.shape == (48, 8, 3)
    assert len(cut.boxes) == len(cut.labels)
    assert (cut.boxes[:, 2:] > cut.boxes[:, :2]).all()
    assert (cut.boxes >= 0).all()
    assert (cut.boxes <= [8, 48, 8, 48]).all()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("torchvision: 3", "has to be a list"),
        ("torchvision: []", "has to be a list"),
        ("torchvision: [{RandomApply: {transforms: [RandomHorizontalFlip]}}]", "themselves"),
        ("torchvision: [RandomFlap]", "no transform 'RandomFlap'"),
        ("torchvision: [RandomHorizontalFlp]", "did you mean RandomHorizontalFlip"),
        ("torchvision: [os.system]", "no transform 'os.system'"),
        ("torchvision: [{Resize: {sise: 3}}]", "Resize: .*sise"),
        ("torchvision: [{A: 1, B: 2}]", "is no transform"),
    ],
)
def test_a_wrong_file_is_one_line(transform, text, told):
    with pytest.raises(UserError, match=told) as error:
        transform(text)
    assert "\n" not in str(error.value)


def test_a_transform_that_makes_other_pixels_names_the_image(transform, sample):
    change = transform("torchvision: [Grayscale]")
    with pytest.raises(UserError, match=r"fails on image img7: .*shape \(1, 48, 64\)"):
        change(sample)
