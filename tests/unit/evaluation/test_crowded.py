"""Images with more objects than an evaluation counts."""

from pathlib import Path

import numpy as np
import pytest

from ssd.config import EvaluationConfig
from ssd.evaluation.crowded import crowded
from ssd.structures import DataSet, Record


def data_set(*counts, difficult=False, classes=1):
    records = [
        Record(
            str(index),
            Path(f"{index}.jpg"),
            90,
            80,
            np.tile(np.array([1, 2, 3, 4], np.float32), (count, 1)),
            np.arange(count) % classes + 1,
            np.full(count, difficult),
            np.zeros(count, np.bool_),
        )
        for index, count in enumerate(counts)
    ]
    return DataSet(records, tuple("abcdefghij"[:classes]), {})


def test_up_to_100_objects_are_not_worth_a_line():
    assert crowded(data_set(100, 3, 0), EvaluationConfig()) == ""
    assert crowded(data_set(600, difficult=True), EvaluationConfig()) == ""
    assert crowded(DataSet([], (), {}), EvaluationConfig()) == ""


@pytest.mark.parametrize(
    ("counts", "classes", "metric", "limits"),
    [
        ((3, 101), 1, "voc", ["COCO's metric would count the best 100"]),
        ((3, 150), 2, "coco", []),
        ((3, 101), 1, "coco", ["counts the best 100 detections of a class in an image, so"]),
        ((3, 300), 9, "coco", ["max_detections keeps 200 detections of an image: set it"]),
        (
            (3, 600),
            1,
            "coco",
            ["max_detections keeps 200", "top_k keeps 400", "COCO's metric counts"],
        ),
    ],
)
def test_the_limits_that_are_reached(counts, classes, metric, limits):
    line = crowded(data_set(*counts, classes=classes), EvaluationConfig(metric=metric))
    from_file = crowded(data_set(*counts, classes=classes), EvaluationConfig(metric=metric), False)
    assert from_file.split("; ")[1:] == [one for one in line.split("; ") if "COCO's" in one]
    head, *told = line.split("; ")
    assert head == (f"1 of 2 images has more than 100 objects, the most {counts[1]} in 1.jpg")
    assert len(told) == len(limits)
    assert all(limit in line for limit, line in zip(limits, told, strict=True))
