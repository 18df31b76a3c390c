"""COCO files as other tools write them: read where their meaning is beyond doubt, and counted."""

import copy
import json
import random
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd.common.errors import UserError
from ssd.data import coco_lists
from ssd.data.coco import read_coco
from ssd.data.findings import Collect
from ssd.structures import CocoTruth, Record


def read(coco, findings=None):
    coco.write()
    return read_coco(coco.root, ["val"], None, findings)


def assert_same(ours, theirs):
    """Two data sets are equal to the bit, but for the repairs."""
    pairs = [(ours.truth, theirs.truth), *zip(ours.records, theirs.records, strict=True)]
    for one, other in pairs:
        for each in fields(Record if isinstance(one, Record) else CocoTruth):
            values = [np.asarray(getattr(item, each.name)) for item in (one, other)]
            assert values[0].dtype == values[1].dtype
            np.testing.assert_array_equal(*values)
    for name in ("classes", "counts", "category_ids", "image_ids"):
        assert getattr(ours, name) == getattr(theirs, name)


# Each changes an entry, and names the repair that it takes, if it is counted.


def as_text(kind, *keys):
    def change(entry):
        for key in keys:
            value = entry[key]
            texts = isinstance(value, list)
            entry[key] = [repr(side) for side in value] if texts else f" {value}"

    return kind, change


def as_float(*keys):
    def change(entry):
        entry.update({key: float(entry[key]) for key in keys})

    return "whole number with a decimal point", change


def outline(shape):
    """A polygon instead of the box."""

    def change(entry):
        x, y, width, height = entry.pop("bbox")
        corners = [(x, y), (x + width, y), (x + width, y + height), (str(x), y + height)]
        entry["segmentation"] = shape([list(corner) for corner in corners])
        entry.setdefault("area", width * height)

    return "polygon instead of a box", change


def from_below(entry):
    x, y, width, height = entry["bbox"]
    entry["bbox"] = [x + width, y + height, -width, -height]


def as_null(entry):
    if "area" not in entry:
        entry["area"] = None
    else:
        entry["iscrowd"] = None


def is_no_crowd(entry):
    return not entry.get("iscrowd")


IMAGE = {
    "id": [as_text("id as text", "id"), as_float("id")],
    "size": [as_text("number as text", "width", "height"), as_float("width", "height")],
    "file": [
        ("path of another machine", lambda e: e.update(file_name=f"C:\\my\\{e['file_name']}")),
        ("path of another machine", lambda e: e.update(file_name=f"/home/me/{e['file_name']}")),
        (None, lambda e: e.update(file_name=f"./{e['file_name']}")),
    ],
}
ANNOTATION = {
    "ids": [
        as_text("id as text", "image_id"),
        as_text("id as text", "category_id"),
        as_float("image_id", "category_id"),
    ],
    "id": [
        ("annotation id missing", lambda e: e.pop("id")),
        ("annotation id repeated", lambda e: e.update(id=1)),
        (None, lambda e: e.update(id=f"uuid of {e['id']}")),
    ],
    "box": [
        as_text("number as text", "bbox"),
        ("corners swapped", from_below),
        outline(lambda corners: [sum(corners, [])]),
        outline(lambda corners: sum(corners, [])),
        outline(lambda corners: corners),
        outline(lambda corners: [corners[0] + corners[1], corners[2] + corners[3]]),
    ],
    "crowd": [
        ("number as text", lambda e: e.update(iscrowd=str(e.get("iscrowd", 0)))),
        (None, lambda e: e.update(iscrowd=bool(e.get("iscrowd")))),
        (None, lambda e: e.update(iscrowd=float(e.get("iscrowd", 0)))),
    ],
    "null": [("area or iscrowd null", as_null)],
}
EACH = [
    (section, group, place)
    for section, groups in (("images", IMAGE), ("annotations", ANNOTATION))
    for group in groups
    for place in range(len(groups[group]))
]


@pytest.mark.parametrize(("section", "group", "place"), EACH)
def test_a_repair_is_counted_and_told_once(coco, section, group, place):
    kind, change = (IMAGE if section == "images" else ANNOTATION)[group][place]
    coco.content["annotations"].pop()  # the crowd
    coco.add(5, 3, 2, [1, 2, 10, 20])
    coco.add(6, 3, 2, [-1, 2, 10, 20])
    clean = read(coco)
    for entry in coco.content[section]:
        change(entry)
    findings = Collect()
    mended = read(coco, findings)
    assert_same(mended, clean)
    count = len(coco.content[section]) - (kind == "annotation id repeated")
    assert mended.repairs == ({} if kind is None else {kind: count})
    told = [each for each in findings.findings if each.kind != "clamped box"]
    assert [each.kind for each in told] == list(mended.repairs)
    assert [each.is_broken for each in told] == [False] * len(told)
    for each in told:
        assert "instances_val.json: " in each.message
        assert f" and {count - 1} more: " in each.message or count == 1


@pytest.fixture(scope="module")
def real(coco128, tmp_path_factory):
    """coco128 with its boxes on a grid of 1/8 pixel, on which sums of sides are exact."""
    root = tmp_path_factory.mktemp("real")
    (root / "annotations").mkdir()
    (root / "images").symlink_to(coco128 / "images")
    content = json.loads((coco128 / "annotations/instances_train2017.json").read_text())
    for number, entry in enumerate(content["annotations"]):
        entry["bbox"] = [round(8 * side) / 8 for side in entry["bbox"]]
        entry["iscrowd"] = int(number % 9 == 0)

    def read_changed(change):
        changed = copy.deepcopy(content)
        change(changed)
        (root / "annotations/train2017.json").write_text(json.dumps(changed))
        return read_coco(root, ["train2017"], None)

    return read_changed


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.01, 0.2, 0.9]))
def test_any_mixture_of_repairs_gives_the_records_of_the_clean_file(real, seed, share):
    rng = random.Random(seed)
    expected = set()

    def change(content):
        for section, groups in (("images", IMAGE), ("annotations", ANNOTATION)):
            for entry in content[section]:
                for choices in groups.values():
                    if rng.random() < share:
                        kind, repair = rng.choice(choices)
                        if kind != "area or iscrowd null" or is_no_crowd(entry):
                            repair(entry)
                            expected.add(kind)
        if rng.random() < share:
            for entry in content["categories"]:
                entry |= {"id": str(entry["id"]), "supercategory": "things"}
            content["categories"].append({"id": 0, "name": "things", "supercategory": "none"})
            expected.update(["id as text", "category that only groups the others, left out"])

    clean = real(lambda content: None)
    assert not clean.repairs
    mended = real(change)
    assert_same(mended, clean)
    assert set(mended.repairs) <= expected - {None}
    assert len(expected) - len(mended.repairs) <= 2  # None, and a single id that repeats none


def test_what_is_mended_one_by_one_equals_what_is_decoded_together(coco128, monkeypatch):
    for split in ("train2017", "val2017"):
        together = read_coco(coco128, [split], None)
        with monkeypatch.context() as patch:
            patch.setattr(coco_lists, "AT_ONCE", 7)
            assert_same(read_coco(coco128, [split], None), together)
            patch.setattr(coco_lists, "_decoded", lambda entries, kind: None)
            assert_same(read_coco(coco128, [split], None), together)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("score", [1.0, float("nan")])
def test_files_with_a_mark_or_nan_are_read(coco, encoding, score):
    coco.content["images"][0]["file_name"] = "ä.jpg"
    (coco.images / "a.jpg").rename(coco.images / "ä.jpg")
    clean = read(coco)
    for entry in coco.content["annotations"]:
        entry["score"] = score
    path = coco.root / "annotations/instances_val.json"
    path.write_text(json.dumps(coco.content, ensure_ascii=False), encoding=encoding)
    assert_same(read_coco(coco.root, ["val"], None), clean)


# outlines


def test_a_mask_stands_for_its_box(coco):
    coco.content["annotations"] = [{"id": 4, "image_id": 7, "category_id": 9}]
    (entry,) = coco.content["annotations"]
    entry["segmentation"] = {"size": [30, 40], "counts": [65, 3, 27, 3, 1102]}
    data = read(coco)
    assert data.records[0].boxes.tolist() == [[2, 5, 4, 8]]
    assert data.truth.areas.tolist() == [6]
    assert data.repairs == {"mask instead of a box": 1}


BROKEN = [
    ({"counts": [1, 2]}, "has no size"),
    ({"size": [30, 40], "counts": [1, 2]}, "runs do not add up to its 40x30 pixels"),
    ({"size": [30, 40], "counts": [-1, 1201]}, "a run of the mask is -1"),
    ({"size": [0, 40], "counts": []}, "the mask's size is 0"),
    ({"size": [10**9, 10**9], "counts": "a"}, "at most 100000000 pixels"),
    ({"size": [30, 40], "counts": "ä"}, "the mask's counts are 'ä'"),
    ({"size": [30, 40], "counts": "P" * 10_000 + "0"}, "which is no text of a mask"),
    ({"size": [30, 40], "counts": "0"}, "runs do not add up"),
    ({"size": [30, 40], "counts": 5}, "the mask's counts are 5"),
    ({"size": 30, "counts": [1200]}, "the mask's size is 30"),
    ([[1, 2, 3]], "segmentation is"),
    ([[1, 2], ["x", 2]], "segmentation is"),
    ([[[]]], "segmentation is"),
    ([{}], "segmentation is"),
    (["ab"], "segmentation is"),
    ([[1, 10**400]], "segmentation is"),
    ([[1, 2, 1e300, 4]], "bbox is"),
    ([[1, 2, None, 4]], "bbox holds nan"),
    ("polygon", "segmentation is 'polygon'"),
    (5, "segmentation is 5"),
]


@pytest.mark.parametrize(("segmentation", "message"), BROKEN)
def test_an_outline_that_makes_no_sense_is_told(coco, segmentation, message):
    coco.content["annotations"][0] |= {"bbox": [], "segmentation": segmentation}
    with pytest.raises(UserError, match="annotation id 1: ") as caught:
        read(coco)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("nothing", [{"bbox": []}, {"bbox": None, "segmentation": []}, {}])
def test_an_annotation_without_any_box_is_left_out_and_told(coco, nothing):
    clean = read(coco)
    coco.content["annotations"].insert(0, {"id": 8, "image_id": 7, "category_id": 9} | nothing)
    findings = Collect()
    data = read(coco, findings)
    assert_same(data, clean)
    assert data.repairs == {"no box, left out": 1}
    (told,) = findings.findings
    assert told.message.endswith("instances_val.json: annotation id 8: no box, left out")


# sizes


@pytest.mark.parametrize(
    "size",
    [{}, {"width": 0, "height": 0}, {"width": None, "height": 30}, {"width": "", "height": 3}],
)
def test_a_size_that_is_missing_is_left_to_the_image_file(coco, size):
    image = coco.content["images"][0]
    coco.content["images"][0] = {key: image[key] for key in ("id", "file_name")} | size
    data = read(coco)
    assert (data.records[0].width, data.records[0].height) == (0, 0)
    assert data.repairs == {"size missing": 1}


# ids and names


def test_ids_may_be_names(coco):
    clean = read(coco)
    images, categories = {7: "a.jpg", 3: "003"}, {9: "9b", 2: "cats", 4: 4}
    for entry in coco.content["annotations"]:
        entry["image_id"] = images[entry["image_id"]]
        entry["category_id"] = categories[entry["category_id"]]
    for section, ids in (("images", images), ("categories", categories)):
        for entry in coco.content[section]:
            entry["id"] = ids[entry["id"]]
    data = read(coco)
    assert data.image_ids == ["a.jpg", "003"]
    assert data.classes == ("emu", "dog", "cat")
    assert data.category_ids == (4, "9b", "cats")
    for ours, theirs in zip(data.records, clean.records, strict=True):
        assert ours.boxes.tolist() == theirs.boxes.tolist()
        names = [
            [each.classes[label - 1] for label in record.labels]
            for each, record in ((data, ours), (clean, theirs))
        ]
        assert names[0] == names[1]


def test_a_name_may_be_a_number(coco):
    for entry, name in zip(coco.content["categories"], (0, 1.5, 2.0), strict=True):
        entry["name"] = name
    data = read(coco)
    assert data.classes == ("1.5", "2", "0")
    assert data.repairs == {"number as a name": 3}


def roboflow(coco, root, parent):
    for entry in coco.content["categories"]:
        entry["supercategory"] = parent
    coco.content["categories"].insert(0, {"id": 0, "name": root, "supercategory": "none"})


@pytest.mark.parametrize("root", ["animals", "cat"])
def test_a_category_that_groups_all_others_is_no_class(coco, root):
    clean = read(coco)
    roboflow(coco, root, root)
    data = read(coco)
    assert_same(data, clean)
    assert data.repairs == {"category that only groups the others, left out": 1}


def test_a_category_above_others_is_a_class_if_it_has_an_object_or_is_wanted(coco):
    roboflow(coco, "animals", "animals")
    coco.write()
    wanted = read_coco(coco.root, ["val"], ["dog", "animals"])
    assert wanted.category_ids == (9, 0)
    coco.add(8, 7, 0, [1, 2, 3, 4])
    assert read(coco).classes == ("animals", "cat", "emu", "dog")
    coco.content["annotations"].pop()
    coco.content["categories"][1]["supercategory"] = "machines"
    assert read(coco).classes == ("animals", "cat", "emu", "dog")


def test_a_single_category_is_a_class(coco):
    coco.content["annotations"] = []
    coco.content["categories"] = [{"id": 1, "name": "cat", "supercategory": "cat"}]
    assert read(coco).classes == ("cat",)


def second_file(coco, images):
    """The same ids again in `more.json`, with images in the folder `more`."""
    coco.write()
    folder = coco.root / "images" / "more"
    folder.mkdir()
    content = copy.deepcopy(coco.content)
    for entry, (image_id, name) in zip(content["images"], images, strict=True):
        entry |= {"id": image_id, "file_name": name}
        (folder / name).write_bytes(b"")
    for entry in content["annotations"]:
        entry["image_id"] = images[entry["image_id"] == 3][0]
    (coco.root / "annotations" / "more.json").write_text(json.dumps(content))
    return read_coco(coco.root, ["val", "more"], None)


def test_ids_that_start_again_in_a_second_file_tell_images_apart_by_their_paths(coco):
    data = second_file(coco, [(7, "a.jpg"), (11, "b.jpg")])
    assert data.image_ids == ["images/val/a", 3, "images/more/a", 11]
    labels = [record.labels.tolist() for record in data.records]
    assert labels == [[1], [3, 1], [1], [3, 1]]
    assert data.truth.image_index.tolist() == [1, 0, 1, 3, 2, 3]


def test_two_files_without_an_id_in_common_keep_their_numbers(coco):
    assert second_file(coco, [(8, "a.jpg"), (11, "b.jpg")]).image_ids == [7, 3, 8, 11]
