"""Annotations with faults that leave no doubt give the records of the clean ones."""

import dataclasses
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ssd.data.findings import Collect
from ssd.data.settle import settle
from ssd.data.voc import annotate_voc, read_voc
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
    data, findings = objects(voc, bndbox(9, 1, 1, "x"), bndbox(9, 1, 1, 5) + "<bndbox/>", BOX)
    assert data.records[0].boxes.tolist() == [BOX_0]
    assert data.repairs == {}
    assert [one.kind for one in findings] == ["broken object"] * 2


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


# Real annotations


def no_size(tree, draw):
    size = tree.find("size")
    match draw(st.sampled_from(["none", "zero", "empty"])):
        case "none":
            tree.remove(size)
        case "zero":
            size.find("width").text = size.find("height").text = "0"
        case _:
            size.find("width").text = ""


def difficult_in_words(tree, draw):
    for each in tree.findall("object"):
        word = draw(st.sampled_from(["", "Unspecified", "false", "No"]))
        each.find("difficult").text = word


def several_boxes(tree, draw):
    before = None
    for each in tree.findall("object"):
        same = before is not None and all(
            before.findtext(tag) == each.findtext(tag) for tag in ("name", "difficult")
        )
        if each.find("bndbox") is None:
            before = None
            continue
        if same and draw(st.booleans()):
            before.extend(each.findall("bndbox"))
            tree.remove(each)
        else:
            before = each


def other_shapes(tree, draw):
    for each in tree.findall("object"):
        if len(each.findall("bndbox")) == 1 and draw(st.booleans()):
            box = each.find("bndbox")
            xmin, ymin, xmax, ymax = (float(box.findtext(name)) for name in CORNERS)
            (xmin, xmax), (ymin, ymax) = sorted((xmin, xmax)), sorted((ymin, ymax))
            if xmin < xmax and ymin < ymax:
                each.remove(box)
                shape = draw(st.sampled_from(shapes(xmin - 1, ymin - 1, xmax, ymax)))
                each.append(ElementTree.fromstring(shape))


def shapes(x1, y1, x2, y2):
    """A box as polygons and as rotated boxes."""
    points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    numbered = (f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(points))
    nested = (f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
    centre = f"<cx>{(x1 + x2) / 2}</cx><cy>{(y1 + y2) / 2}</cy>"
    turns = (x2 - x1, y2 - y1, 0), (y2 - y1, x2 - x1, -math.pi / 2)
    return [
        f"<polygon>{''.join(numbered)}</polygon>",
        f"<polygon>{''.join(nested)}</polygon>",
        *(
            f"<robndbox>{centre}<w>{w}</w><h>{h}</h><angle>{angle}</angle></robndbox>"
            for w, h, angle in turns
        ),
    ]


def swapped(tree, draw):
    for box in tree.iter("bndbox"):
        for side in draw(st.sets(st.sampled_from("xy"))):
            low, high = box.find(f"{side}min"), box.find(f"{side}max")
            low.text, high.text = high.text, low.text


FAULTS = [no_size, difficult_in_words, several_boxes, other_shapes, swapped]
LINES = {
    "stem": lambda name: name,
    "file": lambda name: f"{name}.jpg",
    "path": lambda name: f"JPEGImages/{name}.jpg",
    "upper case": lambda name: name.upper(),
    "Windows": lambda name: rf"JPEGImages\{name}.jpg",
    "elsewhere": lambda name: f"/home/me/project/JPEGImages/{name}.jpg",
    "annotation": lambda name: f"Annotations/{name}.xml",
}


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],  # Shrinking takes minutes.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_mixture_of_faults_gives_the_clean_records(bccd, tmp_path_factory, data):
    draw = data.draw
    root = tmp_path_factory.mktemp("set")
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    stems = sorted(path.stem for path in (bccd / "Annotations").glob("*.xml"))
    stems = draw(st.lists(st.sampled_from(stems), min_size=1, max_size=4, unique=True))
    column = draw(st.sampled_from(["", " 1", "  -1"]))
    lines = []
    for stem in stems:
        (root / f"JPEGImages/{stem}.jpg").touch()
        tree = ElementTree.fromstring((bccd / f"Annotations/{stem}.xml").read_bytes())
        for fault in draw(st.permutations(FAULTS)):
            if draw(st.booleans()):
                fault(tree, draw)
        text = ElementTree.tostring(tree, encoding="unicode")
        encoded = ENCODINGS[draw(st.sampled_from(sorted(ENCODINGS)))](text)
        (root / f"Annotations/{stem}.xml").write_bytes(encoded)
        lines += [LINES[draw(st.sampled_from(sorted(LINES)))](stem) + column]
    lines += draw(st.lists(st.sampled_from(lines), max_size=2))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]))
    (root / "ImageSets/Main/x.txt").write_bytes("\r\n".join(lines).encode(encoding))
    told = Collect()
    found = read_sized(root, own_split(root, "x"), told)
    assert not [finding for finding in told.findings if finding.is_broken]
    same_records(found, clean(bccd, stems))


def clean(bccd: Path, stems: list[str]) -> DataSet:
    """The records of some images, read as they are."""
    split = VocSplit(bccd / "JPEGImages", bccd / "Annotations", bccd / "some", stems)
    data = read_sized(bccd, split, Collect())
    assert data.repairs == {}
    return data


def same_records(found: DataSet, expected: DataSet) -> None:
    assert found.classes == expected.classes
    for one, other in zip(found.records, expected.records, strict=True):
        for each in dataclasses.fields(one):
            values = getattr(one, each.name), getattr(other, each.name)
            if each.name == "path":
                assert values[0].name == values[1].name
            else:
                np.testing.assert_array_equal(*values, strict=isinstance(values[0], np.ndarray))


def test_the_clean_records_of_bccd_are_those_of_its_files(bccd):
    names = (bccd / "ImageSets/Main/trainval.txt").read_text().split()
    for record in clean(bccd, names).records:
        text = (bccd / f"Annotations/{record.image_id}.xml").read_text()
        boxes = [
            [int(re.search(rf"<{side}>(\d+)<", box)[1]) for side in CORNERS]
            for box in re.findall(r"<bndbox>.*?</bndbox>", text, re.DOTALL)
        ]
        sound = [box for box in boxes if box[2] > box[0] and box[3] > box[1]]
        np.testing.assert_array_equal(record.boxes, np.array(sound) - (1, 1, 0, 0))
