"""Rules for boxes, on records of a few images."""

from pathlib import Path

import numpy as np
import pytest

from ssd.doctor import box_rules
from ssd.doctor.box_rules import Boxes, box_findings, repeated_boxes
from ssd.structures import DataSet, Record

CLASSES = ("cat", "dog")
BOX = (10, 10, 60, 60)


def record(boxes, labels=None, name="a.jpg", crowd=()):
    count = len(boxes)
    return Record(
        Path(name).stem,
        Path(name),
        400,
        200,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([1] * count if labels is None else labels, np.int64),
        np.zeros(count, np.bool_),
        np.array(crowd or [False] * count, np.bool_),
    )


def objects_of(boxes, labels=None, crowd=()):
    return Boxes(DataSet([record(boxes, labels, crowd=crowd)], CLASSES, {}))


def lines(findings):
    return [(one.kind, one.is_broken, one.message) for one in findings]


def kinds(findings):
    return [one.kind for one in findings]


def test_tiny_boxes_by_the_side_at_the_models_input():
    boxes = [(10, 10, 11.9, 60), (10, 10, 12, 60), (10, 10, 60, 10.9), (10, 10, 60, 11)]
    found = list(box_findings(objects_of(boxes), 200))
    assert kinds(found) == ["box below one pixel"] * 2
    assert "'cat' at (10, 10, 11.9, 60)" in found[0].message
    assert "(10, 10, 60, 10.9)" in found[1].message


def test_boxes_of_the_whole_image():
    boxes = [(2, 1, 398, 199), (5, 1, 400, 200), (0, 0, 400, 200), (0, 0, 400, 197)]
    found = list(box_findings(objects_of(boxes), 300))
    assert kinds(found) == ["box of the whole image"] * 2


def test_an_object_that_repeats_another():
    nearly, less = (10, 10, 60, 62), (10, 10, 60, 63)  # IoU 50 / 52 and 50 / 53
    found = list(repeated_boxes(objects_of([BOX, nearly, BOX, less])))
    assert kinds(found) == ["object annotated twice"] * 3
    first = "a.jpg: 'cat' at (10, 10, 60, 60) and 'cat' at (10, 10, 60, 62)"
    assert found[0].message == first
    assert not list(repeated_boxes(objects_of([BOX, less])))


def test_two_classes_in_one_box():
    found = list(repeated_boxes(objects_of([BOX, (10, 10, 60, 61), BOX], [1, 2, 2])))
    assert lines(found)[-1] == (
        "two classes in one box",
        False,
        "a.jpg: 'cat' at (10, 10, 60, 60) and 'dog' at (10, 10, 60, 60)",
    )
    assert kinds(found) == ["object annotated twice", "two classes in one box"]


def test_crowds_are_no_objects_of_their_own():
    crowded = objects_of([BOX, BOX, (0, 0, 400, 200)], crowd=[True, False, True])
    assert not list(repeated_boxes(crowded))
    assert not list(box_findings(crowded, 300))


def test_images_are_apart():
    records = [record([BOX], name=f"{name}.jpg") for name in "abc"]
    records.insert(1, record([(0, 0, 400, 200), BOX, BOX], name="d.jpg"))
    data = DataSet(records, CLASSES, {})
    (found,) = repeated_boxes(Boxes(data))
    assert found.message.startswith("d.jpg: ")
    (found,) = box_findings(Boxes(data), 300)
    assert found.message == "d.jpg: 'cat' at (0, 0, 400, 200) covers the whole image"


def test_no_objects_leave_no_findings():
    for data in (DataSet([], CLASSES, {}), DataSet([record([])], CLASSES, {})):
        assert not [*repeated_boxes(Boxes(data)), *box_findings(Boxes(data), 300)]


@pytest.mark.parametrize("at_a_time", [1, 7, 1000])
def test_repeats_are_those_of_a_loop_over_all_pairs(monkeypatch, at_a_time):
    monkeypatch.setattr(box_rules, "PAIRS_AT_A_TIME", at_a_time)
    rng = np.random.default_rng(0)
    grid = np.array([(x, y, x + 40, y + 40) for x in (0, 1, 30) for y in (0, 90)], np.float32)
    records = [
        record(grid[rng.integers(0, 6, count)], rng.integers(1, 3, count), f"{count}.jpg")
        for count in (3, 0, 1, 12, 5)
    ]
    data = DataSet(records, CLASSES, {})
    expected = set()
    for one in records:
        for later in range(len(one.labels)):
            for kind in ("object annotated twice", "two classes in one box"):
                for earlier in range(later):
                    (a, b), same = one.boxes[[earlier, later]], one.labels[earlier]
                    same = same == one.labels[later]
                    wide, high = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
                    shared = max(wide, 0) * max(high, 0)
                    close = shared / (3200 - shared) >= 0.95
                    if (
                        close
                        if same and kind.startswith("object")
                        else (not same and kind.startswith("two") and (a == b).all())
                    ):
                        expected.add((kind, one.path.name, tuple(a), tuple(b)))
                        break
    found = set()
    objects = Boxes(data)
    told = list(repeated_boxes(objects))
    for finding in told:
        name, rest = finding.message.split(": ")
        corners = [part.split(")")[0].split(", ") for part in rest.split("at (")[1:]]
        found.add((finding.kind, name, *(tuple(map(float, one)) for one in corners)))
    assert found == expected
    assert len(kinds(told)) > 10
