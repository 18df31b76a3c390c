"""The weight of rare classes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ssd.config import LossConfig
from ssd.loss.multibox import multibox_loss
from ssd.loss.rare import class_weights
from ssd.structures import DataSet, Record
from tests.unit.loss.test_multibox import default_boxes_of, random_case


def record_of(labels):
    none = np.zeros(len(labels), bool)
    boxes = np.tile(np.array([1, 2, 5, 6], np.float32), (len(labels), 1))
    return Record("a", Path("a.jpg"), 9, 9, boxes, np.array(labels, np.int64), none, none)


def test_weights_are_those_of_a_loop():
    labels = [[1, 1, 2], [1], [1, 3], [1], [], [1], [1, 2], [1], [1], [1]]
    data = DataSet([record_of(each) for each in labels], ("a", "b", "c", "d"), {})
    found = class_weights(data, True, 0.3, torch.device("cpu"))
    for label, weight in enumerate(found.tolist()):
        share = sum(label in each for each in labels) / len(labels)
        expected = max(1.0, (0.3 / share) ** 0.5) if share else 1.0
        assert weight == pytest.approx(expected if label else 1.0)
    assert found[3] > found[2] > found[1] == 1


def test_an_object_of_weight_w_counts_w_times():
    """The sums are those of the parts of the loss by class, times their weights."""
    predictions, targets = random_case()
    boxes = default_boxes_of(predictions)
    config = LossConfig(negatives_per_positive=0)
    classes = predictions.logits.shape[-1]
    weights = torch.linspace(1, 3, classes)

    def sums_of(weights):
        return multibox_loss(predictions, targets, boxes, config, weights)

    found = sums_of(weights)
    for name in ("class_loss", "box_loss"):
        alone = [getattr(sums_of(row), name) for row in torch.eye(classes)]
        expected = sum(w * part for w, part in zip(weights, alone, strict=True))
        torch.testing.assert_close(getattr(found, name), expected)
    assert torch.equal(found.num_positives, targets.num_positives)


def test_negatives_keep_their_weight():
    predictions, targets = random_case()
    boxes = default_boxes_of(predictions)
    weights = torch.ones(predictions.logits.shape[-1])
    plain = multibox_loss(predictions, targets, boxes, LossConfig())
    weighted = multibox_loss(predictions, targets, boxes, LossConfig(), weights)
    assert torch.equal(plain.class_loss, weighted.class_loss)
    weights[1:] = 0
    without = multibox_loss(predictions, targets, boxes, LossConfig(), weights)
    positives = multibox_loss(predictions, targets, boxes, LossConfig(negatives_per_positive=0))
    torch.testing.assert_close(without.class_loss, plain.class_loss - positives.class_loss)
    assert np.all(without.box_loss.detach().numpy() == 0)
