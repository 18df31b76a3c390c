"""An image with an object that cannot be read is left out alike in every format."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.layout import locate
from ssd.data.left_out import most_left_out, refuse_too_many
from ssd.data.source import load_data
from ssd.doctor.check import check_data

spec = importlib.util.spec_from_file_location("exports", Path(__file__).with_name("exports.py"))
exports = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exports)
NAMES = ["cat", "dog"]


def break_voc(root, stem):
    path = root / "Annotations" / f"{stem}.xml"
    text = path.read_text()
    assert "<xmin>" in text
    path.write_text(text.replace("<xmin>", "<xmin>ten", 1))


def break_coco(root, stem):
    path = next((root / "annotations").glob("*train*"))
    content = json.loads(path.read_text())
    (image,) = (one["id"] for one in content["images"] if one["file_name"] == f"{stem}.jpg")
    next(one for one in content["annotations"] if one["image_id"] == image)["bbox"][0] = "ten"
    path.write_text(json.dumps(content))


def break_yolo(root, stem):
    (path,) = root.glob(f"labels/train/{stem}.txt")
    path.write_text(path.read_text().rpartition(" ")[0] + " ten\n")


FORMATS = {
    "voc": (exports.voc, break_voc),
    "coco": (exports.cvat_coco, break_coco),
    "yolo": (exports.ultralytics, break_yolo),
}


@pytest.fixture(params=FORMATS)
def data(request, tmp_path):
    """Four images to train on and one to evaluate on, each with two objects; breaks some."""
    write, harm = FORMATS[request.param]
    rng = np.random.default_rng(0)
    items = []
    for number in range(5):
        path = tmp_path / f"image{number}.jpg"
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(path)
        both = [("cat", (2, 3, 20, 25)), ("dog", (11, 6, 40, 30))]
        items.append(exports.Item(path, 40, 30, both))
    root = tmp_path / "root"
    write(root, {"train": items[:4], "val": items[4:]}, NAMES)

    def broken(*numbers):
        for number in numbers:
            harm(root, f"image{number}")
        return locate(DataConfig(format=request.param, root=str(root), workers=0))[0]

    return broken


def test_one_is_left_out_and_told(data):
    config = data(1)
    train = load_data(config, config.train_split, None)
    assert [record.path.stem for record in train.records] == ["image0", "image2", "image3"]
    assert train.counts["objects"] == 6
    assert train.repairs == {}
    (told,) = train.unusable
    assert told.endswith("image1.jpg)")
    assert "ten" in told


def test_the_check_counts_the_images_and_objects_that_training_has(data):
    config = data(1, 3)
    checked = check_data(config, 96)
    assert [record.path.stem for record in checked.train.records] == ["image0", "image2"]
    assert checked.train.counts["objects"] == 4
    broken = [one for one in checked.findings if one.is_broken]
    assert [one.kind for one in broken] == ["broken object"] * 2


def test_too_many_are_refused_unless_they_are_allowed(data):
    config = data(1, 3)
    with pytest.raises(UserError, match=r"2 of 4 images .* than data\.max_unreadable 0\.01 allows"):
        load_data(config, config.train_split, None)
    with pytest.raises(UserError, match=r"or set --data\.max_unreadable 0\.5 to do without them"):
        load_data(config, config.train_split, None)
    config = replace(config, max_unreadable=0.5)
    assert len(load_data(config, config.train_split, None).unusable) == 2


@pytest.mark.parametrize("num_images", [3, 7, 100, 101, 1000])
def test_the_smallest_share_that_would_do_is_named(num_images):
    for count in range(2, num_images):
        with pytest.raises(UserError, match="max_unreadable") as refused:
            refuse_too_many(["x"] * count, num_images, 0, "images", "all")
        share = float(re.search(r"--data\.max_unreadable (\S+) to do", str(refused.value))[1])
        refuse_too_many(["x"] * count, num_images, share, "images", "all")
        if share > 0.01:
            assert most_left_out(num_images, share - 0.01) < count


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([(30, 40), (30, 40)], "the annotations probably have width and height exchanged"),
        ([(80, 60), (80, 61)], "the images were probably resized by 0.5 after"),
        ([(80, 60), (30, 40)], "allows: repair them;"),
    ],
)
def test_the_likely_reason_of_contradicting_sizes(voc, sizes, told):
    for number, size in enumerate(sizes):
        voc.image(str(number), 40, 30)
        voc.annotation(str(number), [("cat", (3, 4, 20, 20))], *size)
    voc.split("trainval", [str(number) for number in range(len(sizes))])
    with pytest.raises(UserError, match="2 of 2 images") as refused:
        load_data(DataConfig("voc", str(voc.root)), "trainval", None)
    assert told in str(refused.value)
    assert "set --data.max_unreadable" not in str(refused.value)


def test_annotations_of_one_unknown_image_count_once(coco):
    coco.add(10, 99, 2, [1, 1, 5, 5])
    coco.add(11, 99, 2, [1, 1, 5, 5])
    coco.write()
    train = load_data(DataConfig("coco", str(coco.root)), "val", None)
    assert len(train.records) == 2
    (told,) = train.unusable
    assert "annotation id 10: image_id 99 is none of the 2 images" in told
