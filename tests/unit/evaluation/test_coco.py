"""COCO's metric on data that is not COCO's. On COCO's own: tests/parity/test_coco_evaluation.py."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.config import EvaluationConfig
from ssd.evaluation.coco import evaluate_coco, truth_of_records
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.measure import measure
from ssd.structures import DataSet, Record

BOXES = [[0, 0, 100, 100], [0, 0, 20, 20], [50, 50, 90, 90]]


def record(name, boxes, labels, difficult):
    return Record(
        image_id=name,
        path=Path(name),
        width=200,
        height=200,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        difficult=np.array(difficult, np.bool_),
        crowd=np.zeros(len(labels), np.bool_),
    )


@pytest.fixture
def data():
    records = [record("a", BOXES, [1, 2, 1], [False, False, True]), record("b", [], [], [])]
    return DataSet(records, ("cat", "dog"), {})


def table(rows):
    """A table of (image, label, score, box)."""
    images, labels, scores, boxes = zip(*rows, strict=True)
    return DetectionTable(
        np.array(images), np.array(labels), np.array(scores), np.array(boxes, np.float64)
    )


def test_the_truth_of_voc_data(data):
    truth = truth_of_records(data)
    assert truth.image_index.tolist() == [0, 0, 0]
    assert truth.labels.tolist() == [1, 2, 1]
    assert truth.boxes.tolist() == [[0, 0, 100, 100], [0, 0, 20, 20], [50, 50, 40, 40]]
    assert truth.areas.tolist() == [10_000, 400, 1600]
    assert truth.crowd.tolist() == [False, False, True]


@pytest.mark.parametrize("evaluator", ["pycocotools", "hotcoco"])
def test_figures_worked_out_by_hand(data, evaluator):
    """A cat found with IoU 0.81: a hit at 7 of 10 overlaps. The dog is missed, a `difficult` cat
    neither counts nor does what is found there, and a false cat in the empty image comes last."""
    found = table([(0, 1, 0.9, [0, 0, 90, 90]), (0, 1, 0.8, BOXES[2]), (1, 1, 0.7, BOXES[0])])
    result = evaluate_coco(data, found, evaluator)
    assert result.per_class == pytest.approx({"cat": 0.7, "dog": 0.0})
    assert result.coco["AP50"] == pytest.approx(0.5)
    assert result.coco["APl"] == pytest.approx(0.7)
    assert np.isnan(result.coco["APm"])
    assert result.num_ground_truth == {"cat": 1, "dog": 1}
    assert result.detections_per_class == {"cat": 3, "dog": 0}
    assert measure(data, found, EvaluationConfig("coco", coco_evaluator=evaluator)) is not None


def test_an_evaluator_that_is_not_installed(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    with pytest.raises(UserError, match="pip install hotcoco, or give --evaluation.coco_evaluator"):
        evaluate_coco(data, table([(0, 1, 0.9, BOXES[0])]), "hotcoco")
