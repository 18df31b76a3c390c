from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ssd.data.check import (
    check_boxes,
    check_classes,
    check_empty_images,
    check_splits,
    look_at_all,
    orientation,
    overlaps,
    pairs_alike,
)
from ssd.data.coco import read_coco
from ssd.data.findings import Collect
from ssd.structures import DataSet, Record


def record(boxes=(), labels=None, name="a.jpg", width=400, height=300):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.ones(len(boxes), np.int64) if labels is None else np.array(labels, np.int64)
    unmarked = np.zeros(len(boxes), np.bool_)
    return Record(name, Path(name), width, height, boxes, labels, unmarked, unmarked)


def told(check, *arguments):
    collected = Collect()
    check(*arguments, collected)
    return [(finding.kind, finding.is_broken) for finding in collected.findings]


def naive_iou(one, other):
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


@given(arrays(np.int64, st.tuples(st.integers(0, 6), st.just(4)), elements=st.integers(0, 40)))
def test_overlaps_and_pairs_equal_the_naive_loop(numbers):
    low, high = (
        np.minimum(numbers[:, :2], numbers[:, 2:]),
        np.maximum(numbers[:, :2], numbers[:, 2:]),
    )
    boxes = np.concatenate([low, high + 1], 1).astype(np.float32)
    labels = np.arange(len(boxes)) % 2 + 1
    expected = [[naive_iou(one, other) for other in boxes.tolist()] for one in boxes.tolist()]
    np.testing.assert_allclose(overlaps(boxes), np.reshape(expected, (len(boxes),) * 2), atol=1e-6)
    assert pairs_alike(record(boxes, labels)) == [
        (i, j)
        for i in range(len(boxes))
        for j in range(i + 1, len(boxes))
        if expected[i][j] == 1 or (expected[i][j] >= 0.95 and labels[i] == labels[j])
    ]


@pytest.mark.parametrize(
    ("one", "kinds"),
    [
        (record([[10, 10, 60, 80]]), []),
        (record([[10, 10, 11, 80]]), ["tiny box"]),  # 0.75 pixels at 300
        (record([[10, 10, 11.5, 80]]), []),
        (record([[1, 1, 399, 300]]), ["box of the whole image"]),
        (record([[1, 10, 399, 300]]), []),
        (record(width=1201), ["narrow image"]),
        (record(width=1200), []),
        (record(width=60), ["narrow image"]),
        (record([[0, 0, 100, 100], [0, 0, 100, 99]]), ["annotated twice"]),
        (record([[0, 0, 100, 100], [0, 0, 100, 99]], [1, 2]), []),
        (record([[0, 0, 100, 100], [0, 0, 100, 100]], [1, 2]), ["annotated twice"]),
    ],
)
def test_boxes(one, kinds):
    assert told(check_boxes, one, 300) == [(kind, False) for kind in kinds]


def data_set(records, classes):
    return DataSet(records, tuple(classes), {})


@pytest.mark.parametrize(
    ("labels", "classes", "asked_for", "expected"),
    [
        ([1] * 9 + [2] * 5, ["cat", "dog"], None, []),
        ([1] * 9 + [2] * 4, ["cat", "dog"], None, [("rare classes", False)]),
        ([1] * 9, ["cat", "dog"], None, [("class without objects", False)]),
        ([1] * 9, ["cat", "dog"], ["cat", "dog"], [("class without objects", True)]),
        ([], ["cat", "dog"], None, [("nothing to train on", True)]),
        (
            [1] * 9 + [2] * 9,
            ["Fire-hydrant", "fire hydrant"],
            None,
            [("classes named alike", False)],
        ),
    ],
)
def test_classes(labels, classes, asked_for, expected):
    one = record([[10, 10, 60, 80]] * len(labels), labels)
    assert told(check_classes, data_set([one], classes), asked_for) == expected


def test_splits_and_empty_images():
    train = [record(name=name) for name in ("a.jpg", "b.jpg")]
    other = [record([[1, 2, 3, 4]], name="c.jpg")]
    assert told(check_splits, data_set(train, ["cat"]), data_set(other, ["cat"])) == []
    both = data_set([*other, train[1]], ["cat"])
    assert told(check_splits, data_set(train, ["cat"]), both) == [
        ("trained and evaluated on", False)
    ]
    assert told(check_empty_images, other, "train") == []
    collected = Collect()
    check_empty_images([*train * 4, *other], "train", collected)
    (finding,) = collected.findings
    assert finding.message == ("train split: 8 of 9: a.jpg, b.jpg, a.jpg, b.jpg, a.jpg and 3 more")


def test_image_files_are_read_in_order_and_told_apart(tmp_path):
    pixels = np.zeros((300, 400, 3), np.uint8)
    for name, value in (("a", 0), ("b", 9), ("c", 0)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels + value)
    (tmp_path / "d.png").write_bytes(b"")
    names = [tmp_path / f"{letter}.png" for letter in "abcde"]
    a, b, c, empty, missing = look_at_all([record(name=name) for name in names], threads=3)
    assert a.sha256 == c.sha256 != b.sha256
    assert (a.problem, a.orientation) == (None, 1)
    assert "empty" in empty.problem
    assert "cannot be opened" in missing.problem


def test_orientation_of_a_jpeg_equals_pillows(tmp_path):
    from PIL import Image

    image = Image.new("RGB", (40, 30))
    for value in range(10):
        exif = Image.Exif()
        exif[0x0112] = value
        image.save(tmp_path / "x.jpg", exif=exif)
        expected = value if 1 <= value <= 8 else 1
        assert orientation((tmp_path / "x.jpg").read_bytes()) == expected
    image.save(tmp_path / "plain.jpg")
    assert orientation((tmp_path / "plain.jpg").read_bytes()) == 1
    assert orientation(b"\xff\xd8Exif\0\0 and nonsense") == 1


def test_a_coco_file_is_checked_to_its_end(coco):
    coco.content["images"].append({"id": 8, "file_name": "c.jpg", "width": 4, "height": 4})
    coco.add(6, 8, 2, [0, 0, 1, 1])
    coco.add(7, 99, 2, [0, 0, 1, 1])
    coco.add(7, 7, 2, [30, 20, 20, 5])
    coco.write()
    collected = Collect()
    data = read_coco(coco.root, ["val"], None, collected)
    assert len(data.records) == 2
    assert [(finding.kind, finding.message.split(": ")[1]) for finding in collected.findings] == [
        ("broken image", "image id 8"),
        ("broken annotation", "annotation id 7"),
        ("clamped box", "annotation id 7"),
    ]
