"""Whole commands on COCO data: figures as pycocotools has them, and hostile files in one line."""

import contextlib
import io
import json

import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


@pytest.fixture
def content():
    """A sound annotation file of one image."""
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "bbox": [1, 2, 20, 20], "area": 400},
        ],
    }


FOUND = [{"image_id": 7, "category_id": 9, "bbox": [1, 2, 20, 19], "score": 0.5}]


def write(root, content):
    (root / "annotations").mkdir(parents=True)
    (root / "images" / "val").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(root / "images" / "val" / "a.jpg")
    text = content if isinstance(content, str) else json.dumps(content)
    (root / "annotations" / "instances_val.json").write_text(text)


def flags(root):
    return [
        *("--data.format", "coco", "--data.root", str(root)),
        *("--data.train_split", "val", "--data.eval_split", "val", "--evaluation.metric", "coco"),
    ]


def test_a_file_of_detections_is_judged_as_pycocotools_does(tool, coco128, tmp_path):
    annotations = coco128 / "annotations" / "instances_val2017.json"
    truth = json.loads(annotations.read_text())
    found = [
        {
            "image_id": one["image_id"],
            "category_id": one["category_id"] if number % 3 else 1,
            "bbox": [side + number % 7 for side in one["bbox"]],
            "score": number % 50 / 50,
        }
        for number, one in enumerate(truth["annotations"])
    ]
    path = tmp_path / "found.json"
    path.write_text(json.dumps(found))
    done = tool(
        *("evaluate.py", "--detections", path, "--data.format", "coco", "--data.root", coco128),
        *("--data.eval_split", "val2017", "--evaluation.metric", "coco", "--out", "judged"),
    )
    assert done.returncode == 0, done.stderr
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(annotations))
        judge = COCOeval(coco, coco.loadRes(str(path)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    result = json.loads((tmp_path / "judged" / "evaluation.json").read_text())
    assert list(result["coco"].values()) == pytest.approx(judge.stats.tolist(), abs=1e-9)
    assert result["mAP"] == result["coco"]["AP"] > 0.1
    assert (result["num_images"], result["num_detections"]) == (128, len(found))
    again = json.loads((tmp_path / "judged" / "detections.json").read_text())
    assert [one["category_id"] for one in again] == [one["category_id"] for one in found]
    assert f"AP {result['mAP']:.4f}" in done.stdout


HOSTILE = {
    "no JSON": "{",
    "a list": "[]",
    "no images": lambda c: c.pop("images"),
    "images of another type": lambda c: c.update(images={"id": 7}),
    "an empty list of images": lambda c: c.update(images=[]),
    "an image without a name": lambda c: c["images"][0].pop("file_name"),
    "a file that is not there": lambda c: c["images"][0].update(file_name="b.jpg"),
    "a file elsewhere": lambda c: c["images"][0].update(file_name="../../annotations/x"),
    "an image twice": lambda c: c["images"].append(c["images"][0]),
    "a width that is NaN": lambda c: c["images"][0].update(width=float("nan")),
    "a category twice": lambda c: c["categories"].append({"id": 9, "name": "emu"}),
    "a name twice": lambda c: c["categories"].append({"id": 10, "name": "dog"}),
    "a name of 200 MB": lambda c: c["categories"][0].update(name="x" * 200_000_000),
    "a file name of 200 MB": lambda c: c["images"][0].update(file_name="x" * 200_000_000),
}


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_hostile_annotations_are_refused_in_one_line(mistaken, content, tmp_path, damage):
    if callable(damage):
        damage(content)
    write(tmp_path / "coco", content if callable(damage) else damage)
    told = mistaken("train.py", *flags(tmp_path / "coco"), "--out", "run")
    assert told.startswith(f"error: {tmp_path / 'coco' / 'annotations' / 'instances_val.json'}: ")
    assert len(told.splitlines()) == 1
    assert len(told) < 600
    assert not (tmp_path / "run").exists()


BROKEN_ANNOTATIONS = {
    "a bbox that is a text": lambda c: c["annotations"][0].update(bbox="1 2 3 4"),
    "a bbox with NaN": lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]),
    "a bbox without end": lambda c: c["annotations"][0].update(bbox=[1, 2, float("inf"), 4]),
    "a bbox of words": lambda c: c["annotations"][0].update(bbox=["one", "2", "3", "4"]),
    "an image that is nowhere": lambda c: c["annotations"][0].update(image_id=8),
    "a category that is nowhere": lambda c: c["annotations"][0].update(category_id=8),
    "a bbox of 200 MB": lambda c: c["annotations"][0].update(bbox="x" * 200_000_000),
}


@pytest.mark.parametrize("damage", BROKEN_ANNOTATIONS.values(), ids=BROKEN_ANNOTATIONS)
def test_the_only_image_is_of_no_use_if_its_annotation_is_broken(
    mistaken, content, tmp_path, damage
):
    damage(content)
    write(tmp_path / "coco", content)
    told = mistaken("train.py", *flags(tmp_path / "coco"), "--out", "run")
    assert told.startswith(f"error: {tmp_path / 'coco'}, val: no")
    assert len(told.splitlines()) == 1
    assert len(told) < 900
    assert not (tmp_path / "run" / "config.yaml").exists()


HOSTILE_DETECTIONS = {
    "no JSON": "[",
    "an object": {"annotations": FOUND},
    "no score": [{key: FOUND[0][key] for key in ("image_id", "category_id", "bbox")}],
    "no category": [{key: FOUND[0][key] for key in ("image_id", "score", "bbox")}],
    "an image that is nowhere": [FOUND[0] | {"image_id": 8}],
    "an image as a text": [FOUND[0] | {"image_id": "7"}],
    "a category that is nowhere": [FOUND[0] | {"category_id": 1}],
    "a score that is NaN": [FOUND[0] | {"score": float("nan")}],
    "a score of 200 MB": [FOUND[0] | {"score": "x" * 200_000_000}],
}


@pytest.mark.parametrize("found", HOSTILE_DETECTIONS.values(), ids=HOSTILE_DETECTIONS)
def test_hostile_detections_are_refused_in_one_line(mistaken, content, tmp_path, found):
    write(tmp_path / "coco", content)
    path = tmp_path / "found.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    told = mistaken("evaluate.py", "--detections", path, *flags(tmp_path / "coco"), "--out", "out")
    assert told.startswith(f"error: {path}: ")
    assert len(told.splitlines()) == 1
    assert len(told) < 600
