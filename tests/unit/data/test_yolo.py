"""YOLO's labels and descriptions, row by row."""

import contextlib
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.findings import Collect, Refuse
from ssd.data.layout import locate
from ssd.data.source import load_data
from ssd.data.yolo import annotate_yolo
from ssd.data.yolo_file import Description, read_labels, read_yaml_description

NAMES = "names: [cat, dog]\n"


@pytest.fixture
def yolo(tmp_path):
    """Images of 40x20 in `images`, and their labels in `labels`."""
    root = tmp_path / "yolo"

    def write(**labels):
        for stem, text in labels.items():
            (root / "images").mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((20, 40, 3), np.uint8)
            (root / "images" / f"{stem}.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
            if text is not None:
                (root / "labels").mkdir(exist_ok=True)
                (root / "labels" / f"{stem}.txt").write_text(text)
        (root / "data.yaml").write_text(f"train: images\n{NAMES}")
        return root

    return write


def rows_of(tmp_path, text, described=None):
    path = tmp_path / "a.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    findings, repairs = Collect(), Counter()
    labels = read_labels(path, described or Description(names=["cat", "dog"]), findings, repairs)
    assert labels.broken == []
    return labels.rows, findings.findings, dict(repairs)


def test_boxes_and_polygons(tmp_path):
    text = b"\xef\xbb\xbf0 0.5 0.5 0.2 0.4\r\n\r\n1.0 0.1 0.2 0.3 0.2 0.25 0.6 0.05 0.4\n"
    rows, findings, repairs = rows_of(tmp_path, text)
    assert [(row.category, row.line) for row in rows] == [(0, 1), (1, 3)]
    np.testing.assert_allclose(rows[0].corners, (0.4, 0.3, 0.6, 0.7))
    assert rows[1].corners == (0.05, 0.2, 0.3, 0.6)
    assert repairs == {"polygon instead of a box": 1}
    assert [(one.kind, one.is_broken) for one in findings] == [("polygon instead of a box", False)]


def test_a_box_that_sticks_out_by_its_rounding_ends_at_the_border(tmp_path):
    (row,), _, _ = rows_of(tmp_path, "0 0.900391 0.100260 0.199219 0.200521\n")
    assert row.corners[1:3] == (0, 1)
    (row,), _, _ = rows_of(tmp_path, "0 0.900 0.100 0.2001 0.201\n")
    np.testing.assert_allclose(row.corners[1:3], (-0.0005, 1.00005))


def test_a_confidence_is_left_out_and_counted(tmp_path):
    rows, _, repairs = rows_of(tmp_path, "0 0.5 0.5 0.2 0.4 0.93\n")
    np.testing.assert_allclose(rows[0].corners, (0.4, 0.3, 0.6, 0.7))
    assert repairs == {"confidence in a sixth column": 1}


def test_key_points_follow_the_box(tmp_path):
    described = Description(names=["cat"], keypoints=2 * 2)
    rows, _, repairs = rows_of(tmp_path, "0 0.5 0.5 0.2 0.4 0.1 0.1 0.9 0.9\n", described)
    np.testing.assert_allclose(rows[0].corners, (0.4, 0.3, 0.6, 0.7))
    assert not repairs


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("2 0.5 0.5 0.2 0.4", "class '2' is none of"),
        ("-1 0.5 0.5 0.2 0.4", "class '-1' is none of"),
        ("0.5 0.5 0.5 0.2 0.4", "class '0.5' is none of"),
        ("cat 0.5 0.5 0.2 0.4", "'cat' is not a finite number"),
        ("0 0.5 nan 0.2 0.4", "'nan' is not a finite number"),
        ("0 0.5 0.5 inf 0.4", "'inf' is not a finite number"),
        ("0 0.5 0.5 0.2", "4 columns"),
        ("0 0.1 0.2 0.3 0.2 0.25 0.6 0.05", "8 columns"),
        ("0", "1 column,"),
        ("0 320 240 100 50", "divide pixels"),
    ],
)
def test_a_broken_row_is_told_and_the_others_are_kept(tmp_path, row, problem):
    path = tmp_path / "a.txt"
    path.write_text(f"{row}\n1 0.5 0.5 0.2 0.4\n")
    described = Description(names=["cat", "dog"])
    labels = read_labels(path, described, Refuse(), Counter())
    assert [each.line for each in labels.rows] == [2]
    (told,) = labels.broken
    assert "a.txt, line 1: " in told
    assert problem in told


def test_one_of_a_kind_is_told_in_the_singular(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0 .1 .1 .2 .1 .2 .2\n1 .5 .5 .2 .4\n")
    told = Collect()
    labels = read_labels(path, Description(path, names=["cat"]), told, Counter())
    assert [one.message for one in told.findings] == [f"{path}: polygon instead of a box"]
    assert f"class '1' is not the only class of {path}" in labels.broken[0]


def test_too_many_rows(tmp_path):
    with pytest.raises(UserError, match="5001 rows"):
        rows_of(tmp_path, "0 0.5 0.5 0.2 0.4\n" * 5001)


def test_records(yolo):
    root = yolo(a="0 0.5 0.5 0.5 0.5\n1 0.25 0.5 0.1 1.0\n", b="", c=None, d="1 0.5 0.5 0 0.4\n")
    config, told = locate(DataConfig("auto", str(root), eval_split=None))
    assert "is taken for YOLO (data.yaml); training on train, no evaluation" in told
    data = load_data(config, config.train_split, None)
    assert data.classes == ("cat", "dog")
    assert [record.image_id for record in data.records] == ["a", "b", "c", "d"]
    assert data.records[0].boxes.tolist() == [[10, 5, 30, 15], [8, 0, 12, 20]]
    assert data.records[0].labels.tolist() == [1, 2]
    assert [len(record.labels) for record in data.records] == [2, 0, 0, 0]
    assert data.counts == {"objects": 3, "other_class": 0, "degenerate": 1, "clamped": 0}


def test_numbers_are_names_where_no_file_has_names(yolo):
    root = yolo(a="0 0.5 0.5 0.5 0.5\n", b="2 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").unlink()
    assert annotate_yolo(root, ["images"], Refuse()).names == ["0", "1", "2"]


def test_a_folder_of_labels_that_is_given(yolo, tmp_path):
    root = yolo(a="0 0.5 0.5 0.5 0.5\n", b="1 0.5 0.5 0.5 0.5\n")
    (root / "labels").rename(root / "true")
    config = DataConfig("auto", str(root), annotations="true", eval_split=None)
    config, _ = locate(config)
    data = load_data(config, config.train_split, None)
    assert [len(record.labels) for record in data.records] == [1, 1]


def test_images_of_a_list_that_are_missing_or_elsewhere(yolo):
    root = yolo(a="0 0.5 0.5 0.5 0.5\n", b="1 0.5 0.5 0.5 0.5\n")
    lines = "C:\\data\\images\\a.jpg\n/home/me/yolo/images/b.jpg\nimages/gone.jpg\n"
    (root / "list.txt").write_text(lines)
    findings = Collect()
    found = annotate_yolo(root, ["list.txt"], findings)
    assert [image.image_id for image in found.images] == ["a", "b"]
    assert found.repairs == {"path of another machine": 2}
    assert [one.kind for one in findings.findings if one.is_broken] == ["missing image"]


def test_a_list_none_of_whose_images_is_there(yolo):
    root = yolo(a="0 0.5 0.5 0.5 0.5\n")
    (root / "list.txt").write_text("images/gone.jpg\nimages/lost.jpg\n")
    first = f"{root}/list.txt: 'images/gone.jpg' is no image in {root}"
    with pytest.raises(UserError) as refused:
        annotate_yolo(root, ["list.txt"], Collect())
    told = f"list.txt: no image that it lists is there (2 images; the first: {first}): put them"
    assert told in str(refused.value)


def test_an_image_in_two_splits(yolo):
    root = yolo(a="0 0.5 0.5 0.5 0.5\n")
    with pytest.raises(UserError, match="is listed twice, in images and in ."):
        annotate_yolo(root, ["images", "."], Refuse())


def test_a_split_that_is_not_there(yolo):
    root = yolo(a="0 0.5 0.5 0.5 0.5\n")
    with pytest.raises(UserError, match="no folder or list 'val'.*has train"):
        annotate_yolo(root, ["val"], Refuse())
    (root / "empty").mkdir()
    with pytest.raises(UserError, match="empty: has no image"):
        annotate_yolo(root, ["empty"], Refuse())


def test_nothing_outside_the_root_is_read(yolo, tmp_path):
    root = yolo(a=None, b="0 0.5 0.5 0.5 0.5\n")
    secret = tmp_path / "secret.txt"
    secret.write_text("1 0.5 0.5 0.5 0.5\n")
    (root / "labels" / "a.txt").symlink_to(secret)
    (root / "data.yaml").write_text(f"train: images\nval: {tmp_path}\n{NAMES}")
    findings = Collect()
    found = annotate_yolo(root, ["train"], findings)
    assert [image.image_id for image in found.images] == ["b"]
    assert "links to" in findings.findings[0].message
    with pytest.raises(UserError, match="no folder or list"):
        annotate_yolo(root, ["val"], findings)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [yes, no, 1]", ["yes", "no", "1"]),
        ("names: {0: on, 1: 2.50}", ["on", "2.50"]),
        ("names:\n  1: b\n  0: a", ["a", "b"]),
        ("nc: 2\ntrain: x", ["0", "1"]),
    ],
)
def test_names_are_taken_as_they_are_written(tmp_path, text, names):
    (tmp_path / "data.yaml").write_text(text)
    assert read_yaml_description(tmp_path / "data.yaml").names == names


@pytest.mark.parametrize(("count", "told"), [("3", 1), ("1", 1), ("'2'", 0), ("2", 0), ("null", 0)])
def test_names_win_over_another_number_of_classes(yolo, count, told):
    root = yolo(a="0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text(f"train: images\nnc: {count}\n{NAMES}")
    findings = Collect()
    found = annotate_yolo(root, ["train"], findings)
    assert found.names == ["cat", "dog"]
    kind = "nc is not the number of names, which win"
    assert found.repairs == ({kind: 1} if told else {})
    lines = [f"{root / 'data.yaml'}: {kind}: nc is {count}, but there are 2 names"] * told
    assert [one.message for one in findings.findings] == lines


def test_a_label_beyond_the_names_is_broken_whatever_nc_says(yolo):
    root = yolo(a="2 0.5 0.5 0.5 0.5\n", b="1 0.5 0.5 0.5 0.5\n", c="2 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text(f"train: images\nnc: 3\n{NAMES}")
    with pytest.raises(UserError, match=r"class '2' is none of the 2 classes of .*data\.yaml"):
        load_data(DataConfig("yolo", str(root)), "train", None)


@pytest.mark.parametrize(
    "text",
    [
        "names: []",
        "names: [a, a]",
        "names: {0: a, 2: b}",
        "names: 5",
        "nc: many",
        "nc: 99999999",
        "names: [a]\ntrain: {a: b}",
        "names: [a]\npath: 3",
        "names: [a]\nkpt_shape: x",
        "names: [a",
        "names: &x [a]\nb: *x",
    ],
)
def test_a_description_that_makes_no_sense(tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError, match=r"data\.yaml.*fix it$"):
        read_yaml_description(tmp_path / "data.yaml")


def test_other_yaml_files_are_no_description(tmp_path):
    (tmp_path / "docker.yaml").write_text("services: {a: b}")
    assert read_yaml_description(tmp_path / "docker.yaml") is None


@given(st.binary(max_size=200))
def test_no_bytes_give_a_traceback(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.txt"
    path.write_bytes(content)
    try:
        rows = read_labels(path, Description(names=["a"]), Collect(), Counter()).rows
        assert all(np.isfinite(row.corners).all() for row in rows)
    except UserError:
        pass
    with contextlib.suppress(UserError):
        read_yaml_description(path)


def test_a_label_file_without_image_is_told(tmp_path):
    """A misspelt label file would make its image one without objects."""
    for name, text in {"a": "0 .5 .5 .2 .2", "B_": "0 .5 .5 .4 .4", "notes": "made by me"}.items():
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}.txt").write_text(text)
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "classes.txt").write_text("cat")
    told = Collect()
    found = annotate_yolo(tmp_path, ["images"], told)
    assert found.image_index.tolist() == [0]
    (finding,) = told.findings
    assert finding.is_broken
    assert finding.message.startswith(f"{tmp_path / 'labels' / 'B_.txt'}: there is no image")


def test_an_image_twice_in_one_list_counts_once(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("0 .5 .5 .2 .2")
    (tmp_path / "train.txt").write_text("a.jpg\n./a.jpg\n")
    found = annotate_yolo(tmp_path, ["train.txt"], Refuse())
    assert len(found.images) == 1
    assert found.repairs == {"listed twice in one list": 1}


def test_images_without_a_label_file_are_counted(yolo):
    root = yolo(a="0 0.5 0.5 0.2 0.4\n", b=None, c="", d=None)
    config = locate(DataConfig("yolo", str(root), train_split="train", eval_split=None))[0]
    assert load_data(config, "train", None).unlabelled == 2


def test_without_any_label_file_the_places_are_told(yolo, tmp_path):
    root = yolo(a=None, b=None)
    with pytest.raises(UserError, match="none of 2 images has a label file") as refused:
        annotate_yolo(root, ["images"], Refuse())
    where = f"that of {root / 'images/a.jpg'} was looked for at labels/a.txt, images/a.txt, "
    assert where in str(refused.value)
    assert "set --data.annotations" in str(refused.value)
    (root / "other").mkdir()
    with pytest.raises(UserError, match=r"looked for at other/images/a\.txt, other/a\.txt:"):
        annotate_yolo(root, ["images"], Refuse(), root / "other")
