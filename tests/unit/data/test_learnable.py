"""Data with nothing to learn from, or nothing to measure by."""

from pathlib import Path

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.learnable import (
    nothing_to_evaluate,
    nothing_to_learn,
    objects_per_class,
    refuse,
)
from ssd.structures import DataSet, Record

CLASSES = ("cat", "dog")


def data_set(labels=(), difficult=(), crowd=(), images=1, classes=CLASSES):
    """`images` images, the first of which has objects of these labels."""
    count = len(labels)
    masks = [np.array(mask or [False] * count, np.bool_) for mask in (difficult, crowd)]
    boxes = np.tile(np.array([1, 2, 30, 40], np.float32), (count, 1))
    first = Record("a", Path("a.jpg"), 60, 50, boxes, np.array(labels, np.int64), *masks)
    none = np.zeros(0, np.bool_)
    empty = Record("b", Path("b.jpg"), 60, 50, boxes[:0], np.zeros(0, np.int64), none, none)
    return DataSet([first, *[empty] * (images - 1)][:images], classes, {})


def config(**more):
    return DataConfig("voc", "some/data", **{"train_split": "trainval"} | more)


def test_objects_are_counted_as_training_uses_them():
    data = data_set([1, 1, 2, 2], [True, False, False, False], [False, False, True, False])
    assert objects_per_class(data, train_difficult=True) == {"cat": 2, "dog": 1}
    assert objects_per_class(data, train_difficult=False) == {"cat": 1, "dog": 1}
    assert objects_per_class(DataSet([], CLASSES, {}), True) == {"cat": 0, "dog": 0}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (data_set([1, 2], crowd=[True, True]), "only 2 with iscrowd 1: correct the annot"),
        (
            data_set([1, 2], difficult=[True, True]),
            "only 2 marked difficult: set --data.train_difficult true",
        ),
        (
            data_set([1, 2], [True, False], [False, True]),
            "only 1 with iscrowd 1 and 1 marked difficult: set --data.train_difficult true",
        ),
        (data_set(images=3), "none of 3 images has an object with a usable box of the classes "),
    ],
)
def test_nothing_to_train_on(data, told):
    (found,) = nothing_to_learn(data, config(train_difficult=False))
    assert (found.kind, found.is_broken) == ("nothing to train on", True)
    assert found.message.startswith("some/data, trainval: ")
    assert told in found.message
    with pytest.raises(UserError, match="some/data, trainval: "):
        refuse([found])


def test_difficult_objects_are_trained_on_by_default():
    data = data_set([1, 2], difficult=[True, True])
    assert not list(nothing_to_learn(data, config()))


def test_a_class_without_objects_is_broken_where_it_was_asked_for():
    train = data_set([1], images=4)
    (asked,) = nothing_to_learn(train, config(classes=list(CLASSES)))
    (unasked,) = nothing_to_learn(train, config())
    assert (asked.is_broken, unasked.is_broken) == (True, False)
    assert "data.classes has dog, but none of 4 training images" in asked.message
    assert "'dog'" in unasked.message
    refuse([unasked])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (data_set([1], difficult=[True]), "only 1 marked difficult: correct the annotations, or"),
        (data_set([1], crowd=[True]), "only 1 with iscrowd 1: correct the annotations, or"),
        (data_set(images=2), "none of 2 images has an object"),
    ],
)
def test_nothing_to_evaluate_on(data, told):
    (found,) = nothing_to_evaluate(data, config(eval_split=["one", "two"]))
    assert (found.kind, found.is_broken) == ("nothing to evaluate on", True)
    assert found.message.startswith("some/data, one, two: ")
    assert told in found.message
    assert "--data.eval_split" in found.message


def test_one_object_is_enough_and_no_images_are_another_error():
    assert not list(nothing_to_evaluate(data_set([1, 2], [True, False]), config()))
    for data in (data_set([1, 2]), DataSet([], CLASSES, {})):
        assert not list(nothing_to_learn(data, config()))
        assert not list(nothing_to_evaluate(data, config()))
