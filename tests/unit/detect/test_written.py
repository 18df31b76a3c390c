"""Predictions in the formats of others, read back by this project's readers and by pycocotools."""

import json
import os
import shutil
import weakref
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.layout import locate
from ssd.data.source import load_data
from ssd.detect import shots
from ssd.detect.predict_files import Order, predict_files
from tests.unit.detect.one_object import BOXES, CLASSES, LABELS, SCORES, Objects, predicted


@pytest.fixture
def folder():
    """Pictures with odd names, one turned by Exif, and a video."""
    Path("in/sub").mkdir(parents=True)
    for name in ("a b.jpg", "ü.png", "x.jpg", "x.png", "sub/a b.jpg"):
        pixels = np.full((30, 40, 3), 90, np.uint8)
        Path("in", name).write_bytes(cv2.imencode(name[-4:], pixels)[1].tobytes())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40)).save("in/turned.jpg", exif=exif)
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter("in/clip.mp4", cv2.CAP_FFMPEG, code, 25, (40, 30))
    for _ in range(3):
        writer.write(np.full((30, 40, 3), 90, np.uint8))
    writer.release()
    return Path("in")


INSIDE = BOXES.clip(0, [40, 30, 40, 30])


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_this_project_trains_on_what_it_has_predicted(folder, form):
    told, seen = predicted(folder, recursive=True, formats=[form], draw=False)
    assert f"also written: {form}, in out" in told.told
    assert len(seen) == 9
    config, _ = locate(DataConfig("auto", f"out/{form}"))
    assert config.format == form
    config = replace(config, eval_split=None)  # it would hold some of them out
    data = load_data(config, config.train_split, CLASSES)
    assert len(data.records) == 9
    assert data.repairs in ({}, {"turned by Exif, boxes in the turned frame": 1})
    assert not data.unusable
    for record in data.records:
        assert (record.width, record.height) == (40, 30)
        np.testing.assert_allclose(record.boxes, INSIDE, rtol=0, atol=2e-6)
        np.testing.assert_array_equal(record.labels, LABELS)
    assert load_data(config, config.train_split, None).classes == CLASSES
    copies = {path.read_bytes() for path in Path("out").rglob("*.*")}
    assert all(path.read_bytes() in copies for path in folder.rglob("*.[jp][pn]g"))


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_annotations_that_may_have_been_corrected_are_not_overwritten(folder, form):
    predicted(folder, formats=[form])
    before = {path: path.read_bytes() for path in Path("out", form).rglob("*.*")}
    with pytest.raises(UserError, match=f"out/{form} holds annotations, which may have been"):
        predicted(folder, formats=["coco", form])
    predicted(folder)
    assert {path: path.read_bytes() for path in Path("out", form).rglob("*.*")} == before


@pytest.mark.parametrize("numbered", [False, True])
def test_cocos_tools_read_the_results(folder, numbered):
    from pycocotools.coco import COCO

    if numbered:
        (folder / "clip.mp4").unlink()
        for number, path in enumerate(sorted(folder.glob("*.*"))):
            path.rename(folder / f"{7 * number:012}{path.suffix}")
    _, seen = predicted(folder, formats=["coco"])
    images = COCO("out/coco_images.json")
    results = images.loadRes("out/coco_results.json")
    expected = [int(name) for name, *_ in seen] if numbered else list(range(1, len(seen) + 1))
    assert sorted(images.getImgIds()) == expected
    assert [one["name"] for one in images.loadCats(images.getCatIds())] == [*CLASSES]
    for image_id in expected:
        found = results.loadAnns(results.getAnnIds(imgIds=[image_id]))
        assert [one["category_id"] for one in found] == LABELS.tolist()
        np.testing.assert_array_equal([one["score"] for one in found], SCORES.astype(float))
        sides = np.concatenate([BOXES[:, :2], BOXES[:, 2:].astype(float) - BOXES[:, :2]], 1)
        np.testing.assert_array_equal([one["bbox"] for one in found], sides)


def listed():
    found = json.loads(Path("out/detections.json").read_text())
    return [(one["category"], one["score"]) for one in found]


def test_the_best_objects_and_some_classes(folder):
    picture = folder / "x.jpg"
    predicted(picture, most=2, draw=False)
    assert listed() == [(CLASSES[1], SCORES[0]), (CLASSES[0], SCORES[1])]
    predicted(picture, classes=["cat"])
    assert listed() == [(CLASSES[0], SCORES[1]), (CLASSES[0], SCORES[2])]
    predicted(picture, classes=["cat"], most=1)
    assert listed() == [(CLASSES[0], SCORES[1])]
    with pytest.raises(
        UserError, match="there is no 'Cat'; probably meant: 'cat'.*classes are cat"
    ):
        predicted(picture, classes=["Cat"])


def test_nothing_is_drawn(folder):
    predicted(folder, draw=False)
    assert sorted(os.listdir("out")) == ["detections.json", "drawn.json"]
    predicted(folder)  # the folder is known as that of an earlier call
    assert Path("out/clip.mp4").exists()


def test_a_stop_keeps_what_was_done(folder):
    calls = iter(range(9))
    told, seen = predicted(folder, formats=["voc"], is_stopped=lambda: next(calls) >= 2)
    assert len(seen) == 2
    assert "\nstopped before the end\n" in told.told
    assert len(listed()) == 2 * len(SCORES)
    assert len(list(Path("out/voc/Annotations").iterdir())) == 2


def test_a_long_video_does_not_stay_in_memory(folder):
    """However long: no more pictures at once than the detector takes."""
    alive = []

    class Batches(Objects):
        def results(self, named, min_score):
            while batch := list(islice(named, 4)):
                alive.append(sum(weak() is not None for weak in seen))
                yield from super().results(batch, min_score)

    seen = []
    reads = shots.read_picture

    def watched(path):
        pixels = reads(path)
        seen.append(weakref.ref(pixels))
        return pixels

    for number in range(40):
        shutil.copy(folder / "x.jpg", folder / f"{number}.jpg")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shots, "read_picture", watched)
        predict_files(lambda: (Batches(), ""), Order([str(folder)], Path("out")))
    assert len(seen) > 40
    assert max(alive) <= 4 + 1


def test_an_error_leaves_no_half_lists(folder):
    def broken():
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - it has no text
        predicted(folder, formats=["coco"], is_stopped=broken)
    assert sorted(os.listdir("out")) == ["drawn.json"]
