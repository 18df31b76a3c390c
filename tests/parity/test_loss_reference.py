"""Matching and loss against reference vectors and torchvision's SSD."""

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.ssd import SSD as TorchvisionSSD
from torchvision.ops import box_iou

from ssd.config import LossConfig
from ssd.geometry.boxes import decode, to_corner_form
from ssd.loss.matching import match
from ssd.loss.multibox import multibox_loss
from ssd.structures import Predictions, Targets


def test_matching_equals_the_reference(reference):
    vectors = np.load(reference("matching.npz"))
    default_boxes = torch.from_numpy(
        np.load(reference("default_boxes.npz"))["priors_ssd300_voc_clip"]
    ).float()
    assert vectors["num_cases"] > 10
    for case in range(int(vectors["num_cases"])):
        boxes = torch.from_numpy(vectors[f"gt_boxes_{case}"]).float()
        labels = torch.from_numpy(vectors[f"gt_labels_{case}"]).long()
        expected = torch.from_numpy(vectors[f"bipartite_index_{case}"]).long()
        if len(boxes) == 0:
            boxes, labels = torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)
        targets = match(boxes[None], labels[None], default_boxes)
        positive = expected >= 0
        wanted = torch.where(positive, labels[expected.clamp(min=0)], 0)
        assert torch.equal(targets.labels[0], wanted), f"case {case}"
        decoded = decode(targets.locations[0], default_boxes)[positive]
        torch.testing.assert_close(decoded, boxes[expected[positive]], atol=1e-5, rtol=0)


def test_loss_sums_equal_the_reference(reference):
    vectors = {
        name: torch.from_numpy(value) for name, value in np.load(reference("loss.npz")).items()
    }
    labels = vectors["labels"].long()
    positive = labels > 0
    targets = Targets(
        *(labels, vectors["target_locations"].float(), ~positive, positive.sum(1).float()),
        objects=torch.zeros_like(labels),
    )
    predictions = Predictions(vectors["logits"].float(), vectors["locations"].float())
    default_boxes = torch.ones(labels.shape[1], 4)
    sums = multibox_loss(predictions, targets, default_boxes, LossConfig())
    per_image = vectors["per_image"].float()
    assert sums.num_positives[0] == 0
    assert torch.equal(sums.num_positives, per_image[:, 0])
    torch.testing.assert_close(sums.class_loss, per_image[:, 1], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(sums.box_loss, per_image[:, 2], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("objects", [1, 5])
def test_loss_equals_torchvisions_where_the_rules_agree(reference, objects):
    """Objects far apart, so that no two want the same default box."""
    default_boxes = torch.from_numpy(
        np.load(reference("default_boxes.npz"))["priors_ssd300_voc_noclip"]
    ).float()
    anchors = to_corner_form(default_boxes) * 300
    corners = torch.tensor([[0.05, 0.05], [0.55, 0.1], [0.1, 0.6], [0.6, 0.62], [0.42, 0.43]])
    sides = 0.08 + 0.2 * torch.rand(3, objects, 2)
    boxes = torch.cat([corners[:objects].expand(3, -1, -1), corners[:objects] + sides], -1)
    labels = torch.randint(1, 21, (3, objects))
    logits, locations = torch.randn(3, 8732, 21), torch.randn(3, 8732, 4)

    model = TorchvisionSSD.__new__(TorchvisionSSD)
    torch.nn.Module.__init__(model)
    model.box_coder, model.neg_to_pos_ratio = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)), 3
    matcher = SSDMatcher(0.5)
    wanted = [
        {"boxes": image * 300, "labels": names} for image, names in zip(boxes, labels, strict=True)
    ]
    matches = [matcher(box_iou(image["boxes"], anchors)) for image in wanted]
    predicted = {"cls_logits": logits, "bbox_regression": locations}
    expected = model.compute_loss(wanted, predicted, [anchors] * 3, matches)

    targets = match(boxes, labels, default_boxes)
    predictions = Predictions(logits, locations)
    sums = multibox_loss(predictions, targets, default_boxes, LossConfig())
    divisor = sums.num_positives.sum()
    torch.testing.assert_close(sums.class_loss.sum() / divisor, expected["classification"])
    torch.testing.assert_close(sums.box_loss.sum() / divisor, expected["bbox_regression"])
