import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.data import shapes
from ssd.data.image import read_image
from ssd.data.voc import read_voc

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_equal_arguments_give_equal_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        shapes.draw_shapes(tmp_path / name, 3, 2, seed)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert len(first) == 2 + 2 * 5
    assert first == again
    assert first != other


def test_the_set_reads_as_voc(tmp_path):
    shapes.draw_shapes(tmp_path / "set", 40, 10, seed=0)
    data = read_voc(tmp_path / "set", ["trainval", "test"], None)
    assert len(data.records) == 50
    assert data.classes == shapes.CLASSES
    assert data.counts["degenerate"] == data.counts["clamped"] == 0
    sides = np.concatenate([r.boxes[:, 2:] - r.boxes[:, :2] for r in data.records]).max(1)
    assert sides.min() >= 15
    assert sides.max() <= 202
    assert np.median(sides) > 40
    for record in data.records:
        assert read_image(record.path).shape == (record.height, record.width, 3)
        assert 240 <= min(record.width, record.height) <= max(record.width, record.height) <= 480
        assert len(record.labels) <= 8


def drawn(name, corners, size=(40, 50)):
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.array(corners)], 255)
    return shapes.Shape(name, int((mask > 0).sum()), mask)


def read_back(voc, items, size=(40, 50)):
    voc.image("a", width=size[1], height=size[0])
    voc.xml("a", shapes._annotation("a.jpg", size, items))
    voc.split("train", ["a"])
    return read_voc(voc.root, ["train"], ["square"]).records[0]


def test_boxes_are_tight_and_hidden_objects_are_told(voc):
    def square(x1, y1, x2, y2):
        return drawn("square", [(x1, y1), (x2 - 1, y1), (x2 - 1, y2 - 1), (x1, y2 - 1)])

    below = square(2, 3, 12, 13)
    half = square(2, 8, 12, 18)  # hides half of the first
    mostly = square(20, 20, 30, 30)
    covers = square(20, 20, 30, 27)  # hides 70 % of it
    hidden = square(40, 30, 44, 34)
    above = square(39, 29, 50, 40)
    record = read_back(voc, [below, half, mostly, covers, hidden, above])
    assert record.boxes.tolist() == [
        [2, 3, 12, 13],
        [2, 8, 12, 18],
        [20, 20, 30, 30],
        [20, 20, 30, 27],
        [39, 29, 50, 40],
    ]
    assert record.difficult.tolist() == [False, False, True, False, False]


def test_a_box_covers_exactly_its_outline():
    for seed in range(20):
        _, items = shapes.draw_picture(np.random.default_rng(seed))
        for item in items:
            text = "".join(shapes._object_lines(item, difficult=False))
            x1, y1, x2, y2 = (int(text.split(f"<{k}>")[1].split("<")[0]) for k in CORNERS)
            rows, columns = np.nonzero(item.mask > 127)
            assert (x1, x2) == (columns.min() + 1, columns.max() + 1)
            assert (y1, y2) == (rows.min() + 1, rows.max() + 1)


def test_the_area_counts_what_lies_outside_of_the_picture():
    rng = np.random.default_rng(0)
    inside = []
    for item in (item for _ in range(40) for item in shapes.draw_picture(rng)[1]):
        share = item.solid.sum() / item.area
        edges = [item.solid[0], item.solid[-1], item.solid[:, 0], item.solid[:, -1]]
        inside.append(not any(edge.any() for edge in edges))
        assert share == 1 if inside[-1] else 0.5 < share <= 1
    assert 0.05 < 1 - np.mean(inside) < 0.5


def test_it_is_drawn_once(tmp_path):
    root = tmp_path / "deep" / "shapes"
    shapes.ensure_shapes(root, 3, 2)
    assert [path.name for path in root.parent.iterdir()] == ["shapes"]
    assert len(read_voc(root, ["trainval"], None).records) == 3
    assert len(read_voc(root, ["test"], shapes.CLASSES).records) == 2
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    time.sleep(0.01)
    shapes.ensure_shapes(root, 3, 2)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_something_else_is_left_alone(tmp_path):
    root = tmp_path / "shapes"
    shapes.ensure_shapes(root, 3, 2)
    (root / "JPEGImages/shapes_00001.jpg").unlink()
    with pytest.raises(UserError, match=r"shapes exists, but is not a complete"):
        shapes.ensure_shapes(root, 3, 2)
    assert (root / "JPEGImages/shapes_00000.jpg").exists()


def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(rng):
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes, "draw_picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shapes.ensure_shapes(tmp_path / "shapes", 3, 2)
    assert list(tmp_path.iterdir()) == []


def test_another_process_may_be_faster(tmp_path, monkeypatch):
    draw = shapes.draw_shapes

    def draw_twice(root, *arguments):
        draw(root, *arguments)
        draw(tmp_path / "shapes", *arguments)

    monkeypatch.setattr(shapes, "draw_shapes", draw_twice)
    shapes.ensure_shapes(tmp_path / "shapes", 3, 2)
    assert os.listdir(tmp_path) == ["shapes"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be drawn \(.*\): set data\.root to a folder"):
        shapes.ensure_shapes(tmp_path / "file" / "shapes", 3, 2)
