"""Annotations with faults that leave no doubt are read, and the faults are counted."""

import math
from pathlib import Path

import numpy as np
import pytest

from ssd.data.findings import Collect
from ssd.data.settle import settle
from ssd.data.voc import annotate_voc, read_voc
from ssd.data.voc_file import read_annotation
from ssd.data.voc_images import VocSplit, own_split
from ssd.structures import DataSet

CORNERS = ("xmin", "ymin", "xmax", "ymax")
SIZE = (640, 480)


def read_sized(root: Path, split: VocSplit, told: Collect) -> DataSet:
    """Reads a split of images of one size, which is filled in where it is not given."""
    found = annotate_voc(root, [split], told)
    for index, image in enumerate(found.images):
        assert (image.width, image.height) in (SIZE, (0, 0))
        found.images[index] = image._replace(width=SIZE[0], height=SIZE[1])
    return settle(found, found.names, told)


def objects(voc, *bodies, size="<size><width>640</width><height>480</height></size>"):
    voc.image("a")
    text = "".join(f"<object><name>cat</name>{body}</object>" for body in bodies)
    voc.xml("a", f"<annotation><filename>a.jpg</filename>{size}{text}</annotation>")
    voc.split("train", ["a"])
    told = Collect()
    data = read_sized(voc.root, own_split(voc.root, "train"), told)
    return data, told.findings


def bndbox(*corners, tag="bndbox"):
    sides = (f"<{name}>{side}</{name}>" for name, side in zip(CORNERS, corners, strict=True))
    return f"<{tag}>{''.join(sides)}</{tag}>"


BOX = bndbox(11, 21, 50, 40)
BOX_0 = [10, 20, 50, 40]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (bndbox(50, 21, 11, 40), "corners swapped"),
        (bndbox(11, 40, 50, 21), "corners swapped"),
        (bndbox(50, 40, 11, 21), "corners swapped"),
        (BOX + "<difficult/>", "difficult is no number"),
        (BOX + "<difficult>Unspecified</difficult>", "difficult is no number"),
        (BOX + "<difficult> FALSE </difficult>", "difficult is no number"),
        (
            "<polygon><x1>10</x1><y1>20</y1><x2>50</x2><y2>30</y2><x3>20</x3><y3>40</y3></polygon>",
            "polygon instead of a box",
        ),
        (
            "<polygon><username>me</username><pt><x>10</x><y>25</y><time>1</time></pt>"
            "<pt><x>50</x><y>40</y></pt><pt><x>20</x><y>20</y></pt></polygon>",
            "polygon instead of a box",
        ),
        (
            "<bndbox><x1>10</x1><y1>20</y1><x2>50</x2><y2>20</y2><x3>50</x3><y3>40</y3></bndbox>",
            "polygon instead of a box",
        ),
        (
            "<robndbox><cx>30</cx><cy>30</cy><w>40</w><h>20</h><angle>0</angle></robndbox>",
            "rotated box",
        ),
        (
            f"<robndbox><cx>30</cx><cy>30</cy><w>20</w><h>40</h><angle>{math.pi / 2}</angle>"
            "</robndbox>",
            "rotated box",
        ),
        (BOX + "<polygon><x1>0</x1><y1>0</y1></polygon>", None),
        (BOX + "<difficult>0.0</difficult><deleted>0</deleted>", None),
    ],
)
def test_an_object_is_read_and_counted(voc, body, kind):
    data, findings = objects(voc, body)
    (record,) = data.records
    assert record.boxes.tolist() == [BOX_0]
    assert record.difficult.tolist() == [False]
    assert data.repairs == ({kind: 1} if kind else {})
    told = [(one.kind, one.is_broken, one.message) for one in findings]
    path = voc.root / "Annotations/a.xml"
    assert told == ([(kind, False, f"{path}: {kind}")] if kind else [])


@pytest.mark.parametrize("angle", np.linspace(-4, 4, 9))
def test_a_rotated_box_becomes_the_box_around_its_corners(voc, angle):
    fields = {"cx": 200, "cy": 150, "w": 80, "h": 30, "angle": angle}
    body = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    data, _ = objects(voc, f"<type>robndbox</type><robndbox>{body}</robndbox>")
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = np.array([[-40, -15], [40, -15], [40, 15], [-40, 15]]) @ turn.T + (200, 150)
    expected = [*corners.min(0), *corners.max(0)]
    np.testing.assert_allclose(data.records[0].boxes, [expected], rtol=1e-6)


def test_all_boxes_of_an_object_count(voc):
    body = BOX + bndbox(1, 1, 5, 5) + bndbox(9, 9, 2, 2) + "<difficult>yes</difficult>"
    data, findings = objects(voc, body)
    (record,) = data.records
    assert record.boxes.tolist() == [BOX_0, [0, 0, 5, 5], [1, 1, 9, 9]]
    assert record.difficult.tolist() == [True] * 3
    kinds = ["several bndbox in one object", "difficult is no number", "corners swapped"]
    assert data.repairs == dict.fromkeys(kinds, 1)
    assert [one.kind for one in findings] == kinds


def test_repairs_of_one_kind_are_told_once_for_each_file(voc):
    data, findings = objects(voc, bndbox(9, 1, 1, 9), bndbox(9, 1, 1, 9), BOX)
    assert data.repairs == {"corners swapped": 2}
    path = voc.root / "Annotations/a.xml"
    assert [one.message for one in findings] == [f"{path}: corners swapped, 2 times"]


def test_what_labelme_deleted_is_no_object(voc):
    data, _ = objects(voc, BOX, "<deleted>1</deleted>" + BOX)
    assert len(data.records[0].boxes) == 1


def test_a_broken_object_is_no_repair(voc):
    body = bndbox(9, 1, 1, "x"), bndbox(9, 1, 1, 5) + "<bndbox/>", BOX
    each = "".join(f"<object><name>cat</name>{one}</object>" for one in body)
    path = voc.xml("a", f"<annotation>{each}</annotation>")
    read = read_annotation(path)
    assert [one.corners for one in read.objects] == [(11, 21, 50, 40)]
    assert read.repairs == {"size missing": 1}
    where = [told.partition(", bndbox: ")[0] for told in read.broken]
    assert where == [f"{path}, object {number} ('cat')" for number in (1, 2)]


@pytest.mark.parametrize(
    "size",
    ["", "<size/>", "<size><width>640</width></size>"]
    + [
        f"<size><width>{width}</width><height>{height}</height></size>"
        for width, height in [(0, 0), (640, 0), ("", ""), ("None", "None"), (-1, -1), ("nan", 480)]
    ],
)
def test_a_size_that_is_not_given_is_left_open(voc, size):
    voc.fill(1)
    voc.xml("a", f"<annotation><filename>x</filename>{size}</annotation>")
    voc.image("a")
    voc.split("train", ["a"])
    found = annotate_voc(voc.root, [own_split(voc.root, "train")], Collect())
    assert [(image.width, image.height) for image in found.images] == [(0, 0)]
    assert found.repairs == {"size missing": 1}


ENCODINGS = {
    "plain": lambda text: text.encode(),
    "utf-8 with BOM": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-be, no BOM": lambda text: text.encode("utf-16-be"),
    "utf-16, declared utf-8": lambda text: declared(text, "utf-8").encode("utf-16"),
    "utf-16, declared": lambda text: declared(text, "utf-16").encode("utf-16"),
    "gbk": lambda text: declared(text, "GBK").encode("gbk"),
    "gb2312": lambda text: declared(text, "gb2312").encode("gb2312"),
    "shift_jis": lambda text: declared(text, "Shift_JIS").encode("shift_jis"),
    "utf-8, declared utf-16": lambda text: declared(text, "utf-16").encode(),
}


def declared(text: str, encoding: str) -> str:
    return f"<?xml version='1.0' encoding='{encoding}'?>{text}"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_annotations_may_be_in_any_encoding(voc, encoding):
    voc.image("a")
    size = "<size><width>40</width><height>30</height></size>"
    text = f"<annotation>{size}<object><name>猫</name>{BOX}</object></annotation>"
    voc.xml("a", "").write_bytes(ENCODINGS[encoding](text.replace("猫", "日")))
    voc.split("train", ["a"])
    data = read_voc(voc.root, ["train"], None)
    assert data.classes == ("日",)
    wrong = encoding == "utf-8, declared utf-16"
    assert data.repairs == ({"wrong encoding declared": 1} if wrong else {})


def test_one_byte_encodings_are_decoded_as_declared(voc):
    voc.image("a")
    size = "<size><width>40</width><height>30</height></size>"
    text = f"<annotation>{size}<object><name>Ж</name>{BOX}</object></annotation>"
    voc.xml("a", "").write_bytes(declared(text, "windows-1251").encode("cp1251"))
    voc.split("train", ["a"])
    assert read_voc(voc.root, ["train"], None).classes == ("Ж",)


@pytest.mark.parametrize("encoding", ["utf-16", "gbk", "utf-8"])
def test_a_bomb_is_refused_in_any_encoding(voc, encoding):
    head = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    text = f"<?xml version='1.0' encoding='{encoding}'?>{head}<annotation>&b;</annotation>"
    voc.image("a")
    voc.xml("a", "").write_bytes(text.encode(encoding))
    voc.split("train", ["a"])
    told = Collect()
    assert annotate_voc(voc.root, [own_split(voc.root, "train")], told).images == []
    assert [one.kind for one in told.findings] == ["broken annotation"]
    assert "EntitiesForbidden" in told.findings[0].message
