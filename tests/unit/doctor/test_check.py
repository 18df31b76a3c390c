"""Each rule on records of its own; readers' findings and whole sets: tests/runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.config import DataConfig, EvaluationConfig
from ssd.doctor import check
from ssd.structures import DataSet, Record

CLASSES = ("cat", "dog")


def record(boxes=(), labels=None, name="a.jpg", width=400, height=200, difficult=(), crowd=()):
    count = len(boxes)
    return Record(
        Path(name).stem,
        Path(name),
        width,
        height,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([1] * count if labels is None else labels, np.int64),
        np.array(difficult or [False] * count, np.bool_),
        np.array(crowd or [False] * count, np.bool_),
    )


def data_set(*records, classes=CLASSES, left_out=None):
    return DataSet(list(records), classes, {}, left_out=left_out or {})


def lines(findings):
    return [(one.kind, one.is_broken, one.message) for one in findings]


def kinds(findings):
    return [one.kind for one in findings]


BOX = (10, 10, 60, 60)


def test_a_rare_class_is_one_of_few_objects_among_classes_of_many():
    many, few = [BOX] * 50, [BOX] * 4
    names = ("one", "two", "three", "four")
    labels = [1] * 50 + [2] * 50 + [3] * 4
    train = data_set(record([*many, *many, *few], labels), classes=names[:3])
    (found,) = check.rare_classes(train)
    assert "'three' (4 objects, the first in a.jpg)" in found.message
    assert not list(check.rare_classes(data_set(record([*many[1:], *few], [1] * 49 + [2] * 4))))
    labels = [1] * 50 + [2] * 5
    assert not list(check.rare_classes(data_set(record([*many, *few, BOX], labels))))


def test_names_that_are_spelled_alike():
    classes = ("red cell", "dog", "Red-Cell", "döG", "DÖG")
    train = data_set(record([BOX] * 4, [1, 1, 3, 5]), classes=classes)
    evaluation = data_set(classes=classes, left_out={"RED_CELL": [Path("b.xml")]})
    found = sorted(one.message for one in check.alike_classes([train, evaluation]))
    assert [message.split(" are spelled")[0] for message in found] == [
        "classes 'RED_CELL' (1 object, the first in b.xml) and 'red cell' (2 objects, the first "
        "in a.jpg)",
        "classes 'Red-Cell' (1 object, the first in a.jpg) and 'red cell' (2 objects, the first "
        "in a.jpg)",
        "classes 'döG' (0 objects) and 'DÖG' (1 object, the first in a.jpg)",
    ]


def test_names_of_punctuation_alone_are_not_alike():
    assert not list(check.alike_classes([data_set(classes=("+", "-"))]))


def test_classes_that_are_left_out():
    data = data_set(left_out={"fox": [Path("a.xml"), Path("b.xml")]})
    (found,) = check.left_out_classes(data, "training")
    assert found.message.startswith("class 'fox' (2 objects, the first in a.xml) is left out of")


def test_images_without_objects_are_one_line():
    data = data_set(record([BOX]), *(record(name=f"{n}.jpg") for n in range(7)))
    (found,) = check.images_without_objects(data, "train")
    assert found.message == (
        "train: 7 of 8 images have no object: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg …"
    )
    assert not list(check.images_without_objects(data_set(record([BOX])), "train"))
    (found,) = check.images_without_objects(data_set(record([BOX]), record()), "train")
    assert found.message.startswith("train: 1 of 2 images has no object: ")
    assert not list(check.images_without_objects(data_set(record(), record()), "train"))


def test_images_in_both_splits():
    one, two, three = (record(name=f"{n}.jpg") for n in range(3))
    (found,) = check.in_both_splits([one, two], [two, three])
    assert found.message.startswith("1.jpg: ")


def test_identical_files_are_told_once_and_apart_across_splits():
    train = [record(name=name) for name in ("a.jpg", "b.jpg", "c.jpg", "bad1.jpg", "bad2.jpg")]
    evaluation = [record(name=name) for name in ("a.jpg", "d.jpg", "e.jpg", "f.jpg")]
    hashes = {"a.jpg": "1", "b.jpg": "1", "c.jpg": "2", "d.jpg": "2", "e.jpg": "3", "f.jpg": "3"}
    files: dict = {Path(name): sha for name, sha in hashes.items()}
    files |= {Path(name): UserError("unreadable") for name in ("bad1.jpg", "bad2.jpg")}
    same = "is the same file as"
    assert [
        (kind, line.split(", byte")[0])
        for kind, _, line in lines(check.identical_files(train, evaluation, files))
    ] == [
        ("identical images", f"b.jpg: {same} a.jpg"),
        ("identical images in train and eval", f"d.jpg: {same} c.jpg"),
        ("identical images", f"f.jpg: {same} e.jpg"),
    ]


def test_image_findings():
    assert not list(check.image_findings(record(), "0"))
    assert lines(check.image_findings(record(), UserError("a.jpg: is cut off"))) == [
        ("unreadable image", True, "a.jpg: is cut off")
    ]


@pytest.mark.parametrize(("width", "height"), [(400, 99), (99, 400)])
def test_extreme_image_shapes(width, height):
    squashed = record(width=width, height=height)
    assert kinds(check.image_findings(squashed, "0")) == ["extreme image shape"]
    assert not list(check.image_findings(record(width=400, height=100), "0"))


def test_files_that_no_list_names(voc):
    voc.fill(3)
    voc.split("other", ["elsewhere 1", "elsewhere2 -1"])
    for stem in ("extra", "elsewhere", "elsewhere2"):
        voc.image(stem)
    voc.annotation("lonely", [])
    config = DataConfig(format="voc", root=str(voc.root), eval_split=["trainval"])
    images, annotations = check.unlisted(config)
    assert images.message == f"{voc.root / 'JPEGImages'}: no image list names 1 file: extra.jpg"
    assert annotations.message.endswith("Annotations: no image list names 1 file: lonely.xml")


def test_coco_images_that_no_split_lists(coco):
    coco.write()
    config = DataConfig("coco", str(coco.root), train_split="val", eval_split=None)
    assert not list(check.unlisted(config))
    shutil.copy(coco.images / "a.jpg", coco.images / "extra.jpg")
    elsewhere = coco.root / "docs"
    elsewhere.mkdir()
    shutil.copy(coco.images / "a.jpg", elsewhere)
    (told,) = check.unlisted(config)
    assert told.kind == "unlisted files"
    assert told.message == f"{coco.images}: no split names 1 file: extra.jpg"
    other = coco.root / "annotations/instances_test.json"
    other.write_text(json.dumps({**coco.content, "images": [{"id": 1, "file_name": "extra.jpg"}]}))
    assert not list(check.unlisted(config))
    other.write_text(other.read_text()[:-5])  # it may list any of them
    assert not list(check.unlisted(replace(config, eval_split="test")))


def test_yolo_images_and_labels_that_no_split_names(tmp_path):
    def add(folder, stem):
        for path in (tmp_path / folder / "images", tmp_path / folder / "labels"):
            path.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "images" / f"{stem}.jpg").write_bytes(b"")
        (tmp_path / folder / "labels" / f"{stem}.txt").write_text("0 0.5 0.5 0.2 0.2\n")

    for folder in ("train", "val", "test", "extra"):
        add(folder, "a")
    (tmp_path / "logo.png").write_bytes(b"")
    (tmp_path / "list.txt").write_text("train/images/a.jpg\n")
    (tmp_path / "train/images/b.jpg").write_bytes(b"")
    yaml = "train: list.txt\nval: val/images\ntest: test/images\nnames: [cat]\n"
    (tmp_path / "data.yaml").write_text(yaml)
    config = DataConfig("yolo", str(tmp_path), train_split="train", eval_split="val")
    assert [one.message.removeprefix(f"{tmp_path}/") for one in check.unlisted(config)] == [
        "extra/images: no split names 1 file: a.jpg",
        "extra/labels: no split names 1 file: a.txt",
        "train/images: no split names 1 file: b.jpg",
    ]


def test_a_class_that_is_left_out_of_the_evaluation_is_told(voc):
    voc.fill(3)
    voc.image("new")
    voc.annotation("new", [("Cat", (3, 4, 20, 20))])
    voc.split("test", ["new"])
    found = check.check_data(
        DataConfig("voc", str(voc.root), train_split="trainval", eval_split="test", workers=0), 300
    ).findings
    assert [one.kind for one in found if "new.xml" in one.message] == [
        "class names alike",
        "class left out",
    ]


def test_a_folder_that_is_none_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        check.check_data(DataConfig("voc", str(tmp_path / "none")), 300)


def test_what_follows_from_a_missing_image_is_not_told(voc):
    voc.fill(3)
    for path in (voc.root / "JPEGImages").iterdir():
        path.unlink()
    config = DataConfig(
        "voc", str(voc.root), train_split="trainval", eval_split="trainval", workers=0
    )
    checked = check.check_data(config, 300)
    assert set(kinds(checked.findings)) == {"missing image"}
    assert checked.is_broken


def test_what_follows_from_an_unreadable_list_is_not_told(voc):
    voc.fill(3)
    voc.split("test", [])
    config = DataConfig("voc", str(voc.root), train_split="nothing", eval_split="test", workers=0)
    found = check.check_data(config, 300).findings
    assert kinds(found) == ["unreadable split"] * 2


def test_of_objects_in_an_image_of_another_size_nothing_else_is_told(voc):
    voc.image("a", width=80)
    box = ("cat", (1, 1, 40, 30))
    voc.annotation("a", [box, box])
    voc.image("b")
    voc.annotation("b", [("cat", (3, 3, 20, 20))])
    voc.split("trainval", ["a", "b"])
    voc.split("test", ["b"])
    config = DataConfig("voc", str(voc.root), train_split="trainval", eval_split="test", workers=0)
    found = [one for one in check.check_data(config, 300).findings if "a.jpg" in one.message]
    assert kinds(found) == ["contradicting size"]


def test_data_of_crowds_or_difficult_objects_alone_are_told_once(coco):
    coco.content["annotations"] = [coco.annotation(1, 3, 9, [1, 2, 10, 20], iscrowd=1)]
    coco.write()
    config = DataConfig("coco", str(coco.root), train_split="val", eval_split="val", workers=0)
    found = check.check_data(config, 300).findings
    assert [one.kind for one in found if one.is_broken] == [
        "nothing to train on",
        "nothing to evaluate on",
    ]


def test_many_objects_and_many_doubts_are_told(voc):
    voc.image("a")
    boxes = [("cat", (x, 1, x + 1, y)) for x in range(1, 30) for y in range(3, 10)]
    voc.annotation("a", boxes)
    voc.image("b")
    voc.annotation("b", [("cat", (30, 3, 20, 20)), ("cat", (3, 3, 2, 20))])
    voc.split("trainval", ["a"])
    voc.split("test", ["a", "b"])
    evaluation = EvaluationConfig(metric="coco", max_detections=150)
    found = check.check_data(
        DataConfig("voc", str(voc.root), train_split="trainval", eval_split="test", workers=0),
        300,
        evaluation,
    ).findings
    many = [one.message for one in found if one.kind == "many objects in an image"]
    assert [line.split(": ")[0] for line in many] == ["train", "eval"]
    assert "1 of 2 images has more than 100 objects, the most 203 in" in many[1]
    assert not [one for one in found if one.kind == "many doubtful boxes"]

    voc.split("test", ["b"])
    found = check.check_data(
        DataConfig("voc", str(voc.root), train_split="trainval", eval_split="test", workers=0), 300
    ).findings
    (doubt,) = [one for one in found if one.kind == "many doubtful boxes"]
    assert doubt.is_broken
    assert "2 of 2 objects" in doubt.message
    assert "--data.max_mended 1" in doubt.message
