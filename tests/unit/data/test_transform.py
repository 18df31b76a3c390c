"""Samples that a transform changes once they are decoded, in the workers."""

import pytest
import torch

from ssd.augment.library import LibraryTransform
from ssd.common.errors import UserError
from ssd.config.recipes import ALBUMENTATIONS
from ssd.data.dataset import DetectionDataset, Request
from ssd.data.loader import training_steps
from ssd.data.order import Order
from ssd.data.voc import read_voc

NUM_IMAGES = 7
ORDER = Order(NUM_IMAGES, batch_size=2, accumulate=1, world_size=1, seed=5, drop_last=False)
CHANGED = "pixels", "sizes", "boxes", "labels"


@pytest.fixture
def records(voc):
    return read_voc(voc.fill(NUM_IMAGES).root, ["trainval"], None).records


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_neither_workers_nor_resuming_change_a_random_transform(records):
    def run(first, workers):
        dataset = DetectionDataset(records, True, transform=LibraryTransform(ALBUMENTATIONS, 3))
        steps = training_steps(dataset, ORDER, first, 8, 0, workers, pin_memory=False)
        return [getattr(b, name).clone() for step in steps for b in step for name in CHANGED]

    straight = run(0, workers=0)
    for first, workers in ((0, 1), (0, 2), (3, 0), (3, 2)):
        others = run(first, workers)
        assert all(map(torch.equal, straight[first * len(CHANGED) :], others))
        assert len(others) == (8 - first) * len(CHANGED)


def test_epochs_differ(records):
    dataset = DetectionDataset(records, True, transform=LibraryTransform(ALBUMENTATIONS, 3))
    for index in range(NUM_IMAGES):
        shapes = {dataset[Request(epoch, index)].pixels.shape for epoch in range(8)}
        assert len(shapes) >= 4


def test_a_failing_transform_is_no_unreadable_image(records):
    def fail(sample):
        raise UserError(f"failed on {sample.image_id}")

    dataset = DetectionDataset(records, True, transform=fail)
    with pytest.raises(UserError, match="^failed on img"):
        next(training_steps(dataset, ORDER, 0, 2, 0, workers=0, pin_memory=False))
