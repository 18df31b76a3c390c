import json
import random

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.coco import read_coco
from ssd.data.dataset import DetectionDataset, Request
from ssd.data.findings import Collect, Refuse
from ssd.data.learnable import objects_per_class
from ssd.data.source import load_data


def read(coco, classes=None, split="val"):
    coco.write()
    return read_coco(coco.root, [split], classes)


def test_records_are_in_file_order_and_classes_in_the_order_of_their_ids(coco):
    data = read(coco)
    assert data.classes == ("cat", "emu", "dog")
    assert data.category_ids == (2, 4, 9)
    first, second = data.records
    assert (first.image_id, first.width, first.height) == ("7", 40, 30)
    assert first.path == coco.images / "a.jpg"
    assert first.boxes.tolist() == [[3.5, 4.25, 11.5, 13.25]]
    assert first.labels.tolist() == [1]
    assert second.labels.tolist() == [3, 1]
    assert second.crowd.tolist() == [False, True]
    assert second.boxes.dtype == np.float32
    assert data.image_ids == [7, 3]
    assert data.counts == {
        "objects": 3,
        "other_class": 0,
        "crowd": 1,
        "degenerate": 0,
        "clamped": 0,
    }


def test_the_truth_is_the_files(coco):
    coco.add(6, 7, 4, [-5, 28, 60.125, 9.5])
    coco.add(7, 7, 4, [4, 4, 0, 3], area=0)
    truth = read(coco).truth
    assert truth.image_index.tolist() == [1, 0, 1, 0, 0]
    assert truth.labels.tolist() == [3, 1, 1, 2, 2]
    assert truth.boxes.tolist()[3:] == [[-5, 28, 60.125, 9.5], [4, 4, 0, 3]]
    assert truth.areas.tolist() == [200, 50.5, 1000, 60.125 * 9.5, 0]
    assert truth.crowd.tolist() == [False, False, True, False, False]


def test_crowds_are_not_trained_on(coco):
    data = read(coco)
    sample = DetectionDataset(data.records, train_difficult=True)[Request(0, 1)]
    assert sample.labels.tolist() == [3]
    assert objects_per_class(data, True) == {"cat": 1, "emu": 0, "dog": 1}


def test_an_image_without_annotations_is_kept(coco):
    coco.content["annotations"] = []
    data = read(coco)
    assert [len(record.labels) for record in data.records] == [0, 0]
    assert data.truth.boxes.shape == (0, 4)


def test_boxes_are_clamped_or_left_out_and_counted(coco):
    coco.add(10, 7, 2, [-5, 20, 60, 30])
    coco.add(11, 7, 2, [5, 5, 0, 9])
    coco.add(12, 7, 2, [5, 5, 9, 0])
    coco.add(13, 7, 2, [40, 5, 9, 9])
    findings = Collect()
    coco.write()
    data = read_coco(coco.root, ["val"], None, findings)
    assert data.records[0].boxes.tolist() == [[3.5, 4.25, 11.5, 13.25], [0, 20, 40, 30]]
    assert (data.counts["degenerate"], data.counts["clamped"]) == (3, 1)
    told = [(finding.kind, finding.message) for finding in findings.findings]
    assert [kind for kind, _ in told] == ["degenerate box"] * 3 + ["clamped box"]
    assert "annotation id 13: bbox [40, 5, 9, 9] in an image of 40x30" in told[2][1]


def test_given_classes_decide_labels_and_leave_the_others_out(coco):
    data = read(coco, ["dog", "emu"])
    assert data.category_ids == (9, 4)
    assert [record.labels.tolist() for record in data.records] == [[], [1]]
    assert data.counts["other_class"] == 2
    assert data.truth.labels.tolist() == [1]
    with pytest.raises(UserError, match=r"no category wolf, gnu; it has cat, emu, dog"):
        read(coco, ["wolf", "gnu"])


def test_a_class_that_an_evaluation_file_does_not_know_has_no_objects(coco):
    """Some exporters write only the categories that occur."""
    data = read(coco, ["cat", "wolf", "dog"])
    assert data.category_ids == (2, None, 9)
    assert data.truth.labels.tolist() == [3, 1, 1]


def test_the_split_may_be_part_of_the_file_names(coco):
    for image in coco.content["images"]:
        image["file_name"] = f"val/{image['file_name']}"
    assert read(coco).records[0].path == coco.images / "a.jpg"


def test_splits_are_joined_if_they_number_alike(coco):
    coco.write()
    other = json.loads(json.dumps(coco.content))
    for image, new in zip(other["images"], (11, 12), strict=True):
        image["id"] = new
    other["annotations"] = [coco.annotation(1, 12, 4, [1, 2, 3, 4])]
    path = coco.root / "annotations" / "more.json"
    path.write_text(json.dumps(other))
    (coco.root / "more").symlink_to(coco.images)
    config = DataConfig(format="coco", root=str(coco.root))
    data = load_data(config, ["val", "more"], None)
    assert [record.image_id for record in data.records] == ["7", "3", "11", "12"]
    assert data.records[3].labels.tolist() == [2]
    assert data.truth.image_index.tolist() == [1, 0, 1, 3]
    other["categories"][0]["id"] = 5
    path.write_text(json.dumps(other))
    with pytest.raises(UserError, match=r"'dog' \(id 5\) has another id"):
        load_data(config, ["val", "more"], None)
    with pytest.raises(UserError, match="both have the image .*a.jpg with the id 7: give every"):
        load_data(config, ["val", "val"], None)


def test_the_images_may_lie_beside_the_annotation_file(coco):
    coco.write()
    (coco.root / "annotations" / "instances_val.json").rename(
        coco.images / "_annotations.coco.json"
    )
    data = read_coco(coco.root, ["images/val/_annotations.coco.json"], None)
    assert data.records[0].path == coco.images / "a.jpg"


@pytest.mark.parametrize(
    ("root", "split", "message"),
    [
        ("nowhere", "val", "data.root .*nowhere is not a folder"),
        (".", "train", "no such annotation file; .* has instances_val.json"),
        (".", "other.json", "other.json: cannot be read"),
    ],
)
def test_missing_files_are_named(coco, root, split, message):
    coco.write()
    with pytest.raises(UserError, match=message):
        read_coco(coco.root / root, [split], None)


BROKEN = [
    ("annotations", 0, "image_id", 99, "annotation id 1: image_id 99 is none of the 2 images"),
    ("annotations", 0, "category_id", 1, "annotation id 1: category_id 1 is none of 3 categories"),
    ("annotations", 0, "image_id", "x", "annotation id 1: image_id 'x' is none of the 2 images"),
    ("annotations", 0, "image_id", 7.5, "annotation id 1: image_id is 7.5, but has to be"),
    ("annotations", 0, "category_id", None, "annotation id 1: category_id is None, but has to be"),
    ("annotations", 0, "bbox", [1, 2, 3], r"annotation id 1: bbox is \[1, 2, 3\], but has to be"),
    ("annotations", 0, "bbox", [1, 2, 3, float("nan")], "annotation id 1: bbox holds nan where"),
    ("annotations", 0, "bbox", [1, 2, 3, 1e300], "annotation id 1: bbox is"),
    ("annotations", 0, "bbox", [1, 2, 3, 10**400], "annotation id 1: bbox holds 1000"),
    ("annotations", 0, "bbox", [1, 2, 3, "4 px"], "annotation id 1: bbox holds '4 px' where"),
    ("annotations", 0, "bbox", [1, 2, 3, "nan"], "annotation id 1: bbox holds nan where"),
    ("annotations", 0, "bbox", {"x": 1}, "annotation id 1: bbox is {'x': 1}, but has to be"),
    ("annotations", 0, "area", "big", "annotation id 1: area holds 'big'"),
    ("annotations", 0, "iscrowd", 2, "annotation id 1: iscrowd is 2, but has to be 0 or 1"),
    ("annotations", 0, "iscrowd", [], "annotation id 1: iscrowd is"),
    ("images", 0, "id", 3, "image id 3: another image has this id"),
    ("images", 0, "id", True, "image number 1: id is True"),
    ("images", 0, "id", "", "image number 1: id is '', but has to be a string of 1 to"),
    ("images", 0, "id", "x" * 10_000, "image number 1: id is 'xxx"),
    ("images", 0, "width", -1, "image id 7: width is -1, but has to be a whole number from 1"),
    ("images", 0, "width", "wide", "image id 7: width holds 'wide'"),
    ("images", 0, "height", 30.5, "image id 7: height is 30.5"),
    ("images", 0, "file_name", 5, "image id 7: file_name is 5, but has to be a string"),
    ("categories", 0, "name", "", "category id 9: name is '', but has to be a string"),
    ("categories", 0, "name", "x" * 10_000, "category id 9: name is 'xxx"),
    ("categories", 1, "name", "dog", "category id 2: category id 9 has the name 'dog' too"),
    ("categories", 1, "id", 9, "category id 9: another category has this id"),
]


@pytest.mark.parametrize(("section", "row", "field", "value", "message"), BROKEN)
def test_what_makes_no_sense_is_told_with_its_id(coco, section, row, field, value, message):
    coco.content[section][row][field] = value
    with pytest.raises(UserError, match=message) as caught:
        read(coco)
    text = str(caught.value)
    assert str(coco.root / "annotations" / "instances_val.json") in text
    assert "\n" not in text
    assert len(text) < 1000


@pytest.mark.parametrize(
    ("section", "called"),
    [("images", "image"), ("annotations", "annotation"), ("categories", "category")],
)
@pytest.mark.parametrize("entry", [None, 5, [], "x" * 10_000, {}])
def test_entries_of_another_kind_are_told_with_their_place(coco, section, called, entry):
    coco.content[section].insert(1, entry)
    with pytest.raises(UserError, match=f"{called} number 2: (is|has)"):
        read(coco)


@pytest.mark.parametrize(
    "content", ["[]", "5", "{}", '{"images": {}}', "{", "", "nul\0", "[" * 10**6]
)
def test_a_file_of_another_kind_is_told(coco, content):
    coco.write().write_text(content)
    with pytest.raises(UserError, match="not a COCO annotation file|not JSON|too deeply"):
        read_coco(coco.root, ["val"], None)


def test_a_check_goes_on_after_what_is_broken(coco):
    coco.content["images"][0]["file_name"] = "gone.jpg"
    coco.add(8, 4, 2, [1, 1, 5, 5])
    findings = Collect()
    coco.write()
    data = read_coco(coco.root, ["val"], None, findings)
    assert [record.image_id for record in data.records] == ["3"]
    kinds = ["missing image", "annotation without image"]
    assert [finding.kind for finding in findings.findings] == kinds


ODD = [
    None,
    True,
    -1,
    0,
    2.5,
    1e308,
    float("nan"),
    float("inf"),
    10**30,
    "",
    "x",
    "\0",
    [],
    {},
    [[]],
]


def mutate(value, rng):
    """The value with some part of it replaced, removed, doubled or put elsewhere."""
    if isinstance(value, list | dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        match rng.randrange(6):
            case 0:
                del value[key]
            case 1 if isinstance(value, list):
                value.append(value[key])
            case _:
                value[key] = mutate(value[key], rng)
        return value
    return rng.choice(ODD)


def test_mutated_files_are_read_or_told_in_one_line(coco):
    whole = json.dumps(coco.content)
    told = []
    for seed in range(600):
        rng = random.Random(seed)
        coco.content = json.loads(whole)
        for _ in range(rng.randint(1, 3)):
            coco.content = mutate(coco.content, rng)
        try:
            data = read(coco)
        except UserError as error:
            told.append(str(error))
            continue
        for record in data.records:
            assert np.isfinite(record.boxes).all()
            assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()
            assert (record.boxes <= (record.width, record.height) * 2).all()
    assert 200 < len(told) < 600
    assert all("\n" not in message and len(message) < 1000 for message in told)


@pytest.mark.parametrize(
    "name", ["c.jpg", "../../c.jpg", "/etc/hostname", "a\0.jpg", "", ".", "x" * 5000]
)
def test_an_image_without_a_file_is_left_out_with_its_objects(coco, name):
    coco.content["images"][0]["file_name"] = name
    coco.write()
    findings = Refuse()
    data = read_coco(coco.root, ["val"], None, findings)
    assert [record.image_id for record in data.records] == ["3"]
    assert data.counts["objects"] == 2
    (told,) = findings.left_out
    assert "instances_val.json: image id 7: file_name " in told.message
    assert "is not a file below" in told.message
    assert len(told.message) < 1000


def test_a_file_none_of_whose_images_is_there_is_refused(coco):
    for image in coco.content["images"]:
        image["file_name"] = f"gone {image['file_name']}"
    told = r"no image that it lists is there \(2 images; the first: .* 'gone a.jpg' .*: put them"
    with pytest.raises(UserError, match=told):
        read(coco)


def test_an_image_under_two_ids_is_one_with_the_objects_of_both(coco):
    coco.content["images"].append({"id": 8, "file_name": "a.jpg", "width": 40, "height": 30})
    coco.add(20, 8, 9, [1, 2, 3, 4])
    data = read(coco)
    assert [record.image_id for record in data.records] == ["7", "3"]
    assert sorted(data.records[0].boxes[:, 0].tolist()) == [1, 3.5]
    assert data.repairs == {"one image under two ids": 1}
