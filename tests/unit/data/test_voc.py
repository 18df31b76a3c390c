import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.data.voc import read_voc

CORNERS = ("xmin", "ymin", "xmax", "ymax")
BCCD = Path(__file__).resolve().parents[3] / "../shared/data/bccd"


def read_one(voc, objects, classes=None, **size):
    voc.image("a")
    voc.annotation("a", objects, **size)
    voc.split("train", ["a"])
    return read_voc(voc.root, ["train"], classes)


def test_corners_become_0_based_and_half_open(voc):
    data = read_one(voc, [("cat", (1, 2, 40, 30)), ("ant", ("3.25", "4", "10", "45.7e-1"))])
    (record,) = data.records
    assert record.boxes.tolist() == [[0, 1, 40, 30], [2.25, 3, 10, np.float32(4.57)]]
    assert record.boxes.dtype == np.float32
    assert data.classes == ("ant", "cat")
    assert record.labels.tolist() == [2, 1]
    assert record.labels.dtype == np.int64
    assert record.difficult.tolist() == [False, False]
    assert (record.image_id, record.width, record.height) == ("a", 40, 30)
    assert record.path == voc.root / "JPEGImages/a.jpg"


def test_odd_boxes_are_counted_by_the_stated_rules(voc):
    data = read_one(
        voc,
        [
            ("cat", (5, 5, 9, 9)),
            ("cat", (0, 5, 9, 9)),  # 0-based: clamped
            ("cat", (5, 5, 41, 33)),  # beyond the image: clamped
            ("cat", (41, 5, 50, 9)),  # outside
            ("cat", (-9, 5, 0, 9)),  # outside
            ("cat", (9, 5, 5, 8)),  # swapped: mended
            ("cat", (5, 5, 5, 9)),  # equal corners
            ("emu", (5, 5, 9, 9)),  # another class
            ("cat", (-1e300, -1e300, 1e300, 1e300)),  # clamped
        ],
        classes=["dog", "cat"],
    )
    (record,) = data.records
    expected = [[4, 4, 9, 9], [0, 4, 9, 9], [4, 4, 40, 30], [4, 4, 9, 8], [0, 0, 40, 30]]
    assert record.boxes.tolist() == expected
    assert record.labels.tolist() == [2, 2, 2, 2, 2]
    assert data.classes == ("dog", "cat")
    assert data.counts == {"objects": 9, "other_class": 1, "degenerate": 3, "clamped": 3}
    assert data.repairs == {"corners swapped": 1}


def test_a_box_between_pixels_is_not_clamped(voc):
    data = read_one(voc, [("cat", (5.1, 5.3, 9.7, 8.9))])
    np.testing.assert_allclose(data.records[0].boxes, [[4.1, 4.3, 9.7, 8.9]], rtol=1e-6)
    assert data.counts["clamped"] == 0


def test_a_box_that_float32_rounds_to_nothing_is_degenerate(voc):
    data = read_one(voc, [("cat", ("40.9999999999", "5", "60", "9"))])
    assert data.records[0].boxes.shape == (0, 4)
    assert data.counts["degenerate"] == 1


def test_difficult_flag_and_parts(voc):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    part = f"<part><name>head</name>{box}</part>"
    flags = ["<difficult>1</difficult>", "<difficult>0</difficult>", part]
    body = "".join(f"<object><name> cat </name>{flag}{box}</object>" for flag in flags)
    size = "<size><width>40</width><height>30</height></size>"
    voc.image("a")
    voc.xml("a", f"<annotation>{size}{body}</annotation>")
    voc.split("train", ["a"])
    data = read_voc(voc.root, ["train"], None)
    assert data.records[0].difficult.tolist() == [True, False, False]
    assert data.classes == ("cat",)


def test_image_without_objects_is_kept(voc):
    data = read_one(voc, [], classes=["cat"])
    (record,) = data.records
    assert record.boxes.shape == (0, 4)
    assert record.boxes.dtype == np.float32
    assert record.labels.shape == record.difficult.shape == (0,)


def test_splits_follow_one_another_in_the_order_of_their_lists(make_voc, tmp_path):
    for folder, stems in (("VOC2007", ["b", "a.x"]), ("VOC2012", ["d", "c"])):
        voc = make_voc(tmp_path / folder)
        for stem, suffix in zip(stems, (".PNG", ".jpeg"), strict=True):
            voc.image(stem, suffix=suffix)
            voc.annotation(stem, [("cat", (1, 1, 9, 9))])
        voc.split("cat_trainval", [f"{stems[0]}  1", "", f"{stems[1]} -1 "])
    splits = ["VOC2012/cat_trainval", "VOC2007/cat_trainval"]
    records = read_voc(tmp_path, splits, None).records
    assert [record.image_id for record in records] == ["d", "c", "b", "a.x"]
    assert [record.path.name for record in records] == ["d.PNG", "c.jpeg", "b.PNG", "a.x.jpeg"]


GOOD = (
    "<annotation><size><width>40</width><height>30</height></size>"
    "<object><name>cat</name><bndbox>"
    "<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
)
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        ("</annotation>", "", "not well-formed XML"),
        ("<annotation>", BOMB + "<annotation>", "EntitiesForbidden"),
        ("<annotation>", "<?xml version='1.0' encoding='klingon'?><annotation>", "not well-formed"),
        ("<height>30<", "<height>30.5<", "size: height is 30.5, not a whole number"),
        ("<height>30<", "<height>inf<", "size: height is inf, not a whole number"),
        ("<object>.*</object>", "<outputs><bndbox/></outputs>", "no annotation of VOC: its boxes"),
        ("<annotation>.*<", "<annotation><", "'annotation' has no object, no size and no filename"),
        ("<name>cat</name>", "", "object 1: name is missing"),
        ("<name>cat<", "<name> <", "object 1: name is empty"),
        ("<bndbox>.*</bndbox>", "", "object 1 ('cat'): bndbox is missing"),
        ("<ymin>2</ymin>", "", "object 1 ('cat'), bndbox: ymin is missing"),
        ("<ymin>2<", "<ymin><", "object 1 ('cat'), bndbox: ymin is empty"),
        ("<ymin>2<", "<ymin>two<", "object 1 ('cat'), bndbox: ymin is 'two', not a number"),
        ("<xmax>9<", "<xmax>NaN<", "object 1 ('cat'), bndbox: xmax is 'NaN', not a number"),
        ("<xmax>9<", "<xmax>-inf<", "object 1 ('cat'), bndbox: xmax is '-inf', not a number"),
        ("<xmax>9<", "<xmax>1e999<", "object 1 ('cat'), bndbox: xmax is '1e999', not a number"),
        ("</bndbox>", "</bndbox><difficult>x</difficult>", "('cat'): difficult is 'x', which"),
        ("<bndbox>.*</bndbox>", "<polygon><x1>1</x1></polygon>", "polygon: a point has no x or no"),
        ("<bndbox>.*</bndbox>", "<polygon></polygon>", "('cat'), polygon: xmin is missing"),
        ("<bndbox>.*</bndbox>", "<robndbox><cx>1</cx></robndbox>", "robndbox: cy is missing"),
    ],
)
def test_a_bad_annotation_is_told_by_file_object_and_field(voc, found, instead, told):
    voc.image("a")
    damaged, count = re.subn(found, instead, GOOD)
    assert count == 1
    path = voc.xml("a", damaged)
    voc.split("train", ["a"])
    with pytest.raises(UserError) as error:
        read_voc(voc.root, ["train"], None)
    assert str(error.value).startswith(str(path))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_root(tmp_path):
    with pytest.raises(UserError, match=r"data\.root .*nowhere is not a folder"):
        read_voc(tmp_path / "nowhere", ["train"], None)


def test_missing_split_lists_those_that_exist(make_voc, tmp_path):
    for folder in ("", "VOC2007"):
        make_voc(tmp_path / folder).split("test", ["a"])
    with pytest.raises(UserError, match=r"trainval\.txt.* has: VOC2007/test, test$"):
        read_voc(tmp_path, ["VOC2007/trainval"], None)


def test_missing_files(voc):
    voc.split("train", ["a"])
    with pytest.raises(UserError, match=r"train\.txt: a has no image in .*JPEGImages"):
        read_voc(voc.root, ["train"], None)
    voc.image("a")
    with pytest.raises(UserError, match=r"a\.jpg: .* \(.*a\.xml does not exist\).*background true"):
        read_voc(voc.root, ["train"], None)
    (voc.root / "JPEGImages/a.jpg").unlink()
    (voc.root / "JPEGImages").rmdir()
    with pytest.raises(UserError, match="JPEGImages is not a folder"):
        read_voc(voc.root, ["train"], None)


def test_empty_and_unreadable_lists(voc):
    path = voc.split("train", ["", "  "])
    with pytest.raises(UserError, match=r"train\.txt: lists no image"):
        read_voc(voc.root, ["train"], None)
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match=r"train\.txt: cannot be read as text"):
        read_voc(voc.root, ["train"], None)


def test_an_image_listed_twice_names_both_lists(voc):
    voc.fill(2)
    voc.split("other", ["img01"])
    with pytest.raises(UserError, match=r"img01 is listed twice, in .*trainval\.txt and .*other"):
        read_voc(voc.root, ["trainval", "other"], None)


def test_two_images_of_one_stem(voc):
    voc.fill(1)
    voc.image("img00", suffix=".png")
    with pytest.raises(UserError, match=r"'img00' may be .*img00\.jpg or .*img00\.png"):
        read_voc(voc.root, ["trainval"], None)


def test_no_object_and_no_classes(voc):
    with pytest.raises(UserError, match=r"no annotation has an object: set data\.classes"):
        read_one(voc, [])


@pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD data set is not beside the repository")
def test_bccd_equals_a_naive_reading():
    data = read_voc(BCCD, ["trainval", "test"], None)
    assert len(data.records) == 364
    assert data.classes == ("Platelets", "RBC", "WBC")
    assert data.counts == {"objects": 4888, "other_class": 0, "degenerate": 2, "clamped": 0}
    for record in data.records:
        tree = ElementTree.parse(BCCD / "Annotations" / f"{record.image_id}.xml")
        boxes, names = [], []
        for element in tree.iter("object"):
            x1, y1, x2, y2 = (int(element.findtext(f"bndbox/{k}")) for k in CORNERS)
            if x2 > x1 and y2 > y1:
                boxes.append([x1 - 1, y1 - 1, x2, y2])
                names.append(element.findtext("name"))
        assert record.boxes.tolist() == boxes
        assert [data.classes[label - 1] for label in record.labels] == names
