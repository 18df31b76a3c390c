import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from ssd.data.cache import image_bytes
from ssd.data.records import Records
from ssd.structures import Record

OBJECTS = [2, 0, 3, 0]
BOXES = np.arange(20, dtype=np.float32).reshape(5, 4)
LABELS = np.array([1, 2, 3, 1, 2])
DIFFICULT = np.array([True, False, False, True, False])
TURNS = np.array([1, 6, 1, 3])


@pytest.fixture
def records():
    names = ["a", "b", "c", "d"]
    sizes = np.array([[40, 30], [41, 31], [42, 32], [43, 33]])
    paths = [f"folder/{name}.jpg" for name in names]
    return Records(
        names, paths, sizes, np.cumsum(OBJECTS), BOXES, LABELS, DIFFICULT, ~DIFFICULT, TURNS
    )


def same(one, other):
    for each in fields(Record):
        ours, theirs = getattr(one, each.name), getattr(other, each.name)
        assert type(ours) is type(theirs)
        np.testing.assert_array_equal(ours, theirs)
        assert getattr(ours, "dtype", None) == getattr(theirs, "dtype", None)


def test_each_image_has_its_own_rows(records):
    start = 0
    for place, count in enumerate(OBJECTS):
        rows = slice(start, start + count)
        by_hand = Record(
            "abcd"[place],
            Path("folder") / f"{'abcd'[place]}.jpg",
            40 + place,
            30 + place,
            BOXES[rows],
            LABELS[rows],
            DIFFICULT[rows],
            ~DIFFICULT[rows],
            TURNS[place].item(),
        )
        same(records[place], by_hand)
        same(records[place - 4], by_hand)
        start += count


def test_they_are_a_sequence(records):
    assert len(records) == 4
    assert [record.image_id for record in records] == ["a", "b", "c", "d"]
    assert [record.image_id for record in reversed(records)] == ["d", "c", "b", "a"]
    assert [record.image_id for record in records[1::2]] == ["b", "d"]
    assert [record.image_id for record in records[-1:0:-1]] == ["d", "c", "b"]
    assert [record.image_id for record in [*records, *records[:1]]] == ["a", "b", "c", "d", "a"]
    for index in (4, -5):
        with pytest.raises(IndexError):
            records[index]
    same(records[np.int64(2)], records[2])


def test_they_come_back_from_a_pickle(records):
    for ours, theirs in zip(records, pickle.loads(pickle.dumps(records)), strict=True):
        same(ours, theirs)


def test_the_sizes_in_bytes_are_those_of_single_records(records):
    found = image_bytes(records)
    assert found.dtype == np.int64
    assert found.tolist() == image_bytes(list(records)).tolist() == [3600, 3813, 4032, 4257]
