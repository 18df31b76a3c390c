"""Matching against a naive loop over the paper's rule, and its special cases."""

import numpy as np
import pytest
import torch

from ssd.geometry.boxes import encode, pairwise_iou, to_corner_form
from ssd.geometry.default_boxes import FeatureMap, default_boxes
from ssd.loss import matching
from ssd.loss.matching import match


@pytest.fixture(scope="module")
def default_P4():
    maps = [FeatureMap(8, 8, 12, 24, (2.0,)), FeatureMap(4, 16, 24, 48, (2.0, 3.0))]
    return default_boxes(maps, 64)


def ground_truth(num_images: int, num_objects: int) -> tuple[torch.Tensor, torch.Tensor]:
    corners = torch.rand(num_images, num_objects, 2, 2, dtype=torch.float64)
    boxes = torch.cat([corners.amin(2), corners.amax(2) + 0.02], -1).float()
    return boxes, torch.randint(1, 6, (num_images, num_objects))


def naive_match(iou_GP: np.ndarray, threshold: float) -> np.ndarray:
    """The paper's rule, one decision at a time; of equal overlaps the first default box wins."""
    num_objects, num_boxes = iou_GP.shape
    matched = np.full(num_boxes, -1)
    left = iou_GP.copy()
    while num_objects and left.max() > 1e-6:
        best_box, best_object = np.unravel_index(left.T.argmax(), left.T.shape)
        matched[best_box] = best_object
        left[best_object] = -1
        left[:, best_box] = -1
    for box in range(num_boxes):
        if matched[box] < 0 and num_objects and iou_GP[:, box].max() >= threshold:
            matched[box] = iou_GP[:, box].argmax()
    return matched


@pytest.mark.parametrize(("num_objects", "threshold"), [(1, 0.5), (7, 0.5), (40, 0.5), (12, 0.35)])
def test_equals_the_naive_loop(default_P4, num_objects, threshold):
    boxes, labels = ground_truth(6, num_objects)
    targets = match(boxes, labels, default_P4, match_iou=threshold)
    iou = pairwise_iou(boxes, to_corner_form(default_P4)).numpy()
    for image in range(6):
        expected = naive_match(iou[image], threshold)
        positive = expected >= 0
        wanted = np.where(positive, labels[image].numpy()[expected], 0)
        assert targets.labels[image].numpy().tolist() == wanted.tolist()
        assert targets.num_positives[image] == positive.sum()
        offsets = encode(boxes[image][expected], default_P4)
        torch.testing.assert_close(targets.locations[image][positive], offsets[positive])


def test_every_object_keeps_a_default_box_where_others_would_lose_it(default_P4):
    twins = torch.tensor([[0.3, 0.3, 0.42, 0.42], [0.3, 0.3, 0.42, 0.421], [0.3, 0.3, 0.421, 0.42]])
    targets = match(twins[None], torch.tensor([[1, 2, 3]]), default_P4)
    assert set(targets.labels.unique().tolist()) >= {1, 2, 3}


def test_padding_and_the_number_of_images_change_nothing(default_P4, monkeypatch):
    boxes, labels = ground_truth(5, 6)
    whole = match(boxes, labels, default_P4)
    padded = match(
        torch.cat([boxes, torch.zeros(5, 3, 4)], 1),
        torch.cat([labels, torch.zeros(5, 3, dtype=torch.int64)], 1),
        default_P4,
    )
    monkeypatch.setattr(matching, "CPU_CACHE_ELEMENTS", 1)
    one_by_one = match(boxes, labels, default_P4)
    for other in (padded, one_by_one):
        assert torch.equal(whole.labels, other.labels)
        assert torch.equal(whole.eligible, other.eligible)
        positive = whole.labels > 0
        assert torch.equal(whole.locations[positive], other.locations[positive])


def test_an_image_without_objects_has_no_positives(default_P4):
    targets = match(torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.int64), default_P4)
    assert targets.num_positives.tolist() == [0, 0]
    assert targets.labels.sum() == 0
    assert targets.eligible.all()


def test_negative_iou_leaves_out_close_misses(default_P4):
    boxes, labels = ground_truth(3, 4)
    targets = match(boxes, labels, default_P4, match_iou=0.7, negative_iou=0.3)
    best = pairwise_iou(boxes, to_corner_form(default_P4)).amax(1)
    assert torch.equal(targets.eligible, (best < 0.3) & (targets.labels == 0))
    everything = match(boxes, labels, default_P4, match_iou=0.7)
    assert torch.equal(everything.eligible, everything.labels == 0)
