"""Predictions for files, by a detector that finds one object in every picture."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.detect import detector, predict_files
from ssd.detect import predict as module
from ssd.detect.predict import predict
from ssd.detect.predict_files import Order
from ssd.detect.result import Result

CLASSES = ("cat", "dog")
CHECKPOINT = SimpleNamespace(choice="step 6, as given", path=Path("run/checkpoints/step_6"))


class OneObject:
    """Stands in for a detector."""

    classes = CLASSES

    def results(self, named, min_score):
        for name, pixels in named:
            box = np.array([[1, 2, 10, 12]], np.float32)
            one, label = np.array([0.9], np.float32), np.array([2])
            yield Result(name, box, one, label, ("dog",), pixels, CLASSES)


@pytest.fixture(autouse=True)
def _one_object(monkeypatch):
    monkeypatch.setattr(module, "open_checkpoint", lambda trained, which: CHECKPOINT)
    monkeypatch.setattr(module, "config_of", lambda checkpoint, overrides: None)
    monkeypatch.setattr(module, "build_detector", lambda checkpoint, config: OneObject())


@pytest.fixture
def folder(tmp_path):
    """Three pictures, one of them in a subfolder and of the same name as another."""
    for name in ("a.jpg", "b.jpg", "sub/a.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        cv2.imwrite(str(path), np.full((40, 60, 3), 90, np.uint8))
    return tmp_path / "in"


def run(*given, recursive=True, out="out", **more):
    order = Order(list(map(str, given)), Path(out), recursive=recursive, **more)
    return predict(Path("run"), order, {})


def test_a_bad_picture_is_named_and_all_others_are_predicted(folder, capfd):
    whole = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    predicted = run(folder)
    assert predicted.is_incomplete
    using, head, count, line = predicted.told.splitlines()
    assert using == "using step 6, as given (run/checkpoints/step_6)"
    assert head == "2 objects of score 0.4 or more in 2 images: drawn in out, listed in " + str(
        Path("out/detections.json")
    )
    assert count.startswith("left out 1 of 3 images (save them anew as JPEG or PNG")
    assert line.startswith(f"  {folder / 'b.jpg'}: image is cut off")
    assert f"left out: {line.strip()}" in capfd.readouterr().err
    found = json.loads(Path("out/detections.json").read_text())
    assert [(one["image_id"], one["bbox"]) for one in found] == [
        ("a", [1, 2, 9, 10]),
        ("sub/a", [1, 2, 9, 10]),
    ]
    copies = sorted(path.as_posix() for path in Path("out").rglob("*.jpg"))
    assert copies == ["out/a.jpg", "out/sub/a.jpg"]


def test_nothing_is_told_of_whole_pictures(folder):
    predicted = run(folder, recursive=False)
    assert not predicted.is_incomplete
    assert "left out" not in predicted.told


def test_a_named_file_that_is_no_image_is_told(folder):
    text = folder / "v.txt"
    text.write_text("no picture")
    predicted = run(text)
    assert predicted.is_incomplete
    assert str(text) in predicted.told
    assert json.loads(Path("out/detections.json").read_text()) == []


def test_no_picture_is_overwritten(folder, monkeypatch):
    monkeypatch.chdir(folder)
    before = Path("sub/a.jpg").read_bytes()
    with pytest.raises(UserError, match="sub holds other files .a.jpg. and not predictions"):
        run("sub", out="sub")
    assert Path("sub/a.jpg").read_bytes() == before


def test_earlier_copies_are_replaced_but_no_picture_of_the_users(folder):
    run(folder)
    (folder / "sub" / "a.jpg").unlink()
    run(folder)
    content = json.loads(Path("out/drawn.json").read_text())
    assert content == {"pictures": ["a.jpg", "b.jpg", "sub/a.jpg"]}
    mine = Path("out/c.jpg")
    mine.write_bytes(b"mine")
    (folder / "c.jpg").write_bytes((folder / "b.jpg").read_bytes())
    for _ in range(2):
        with pytest.raises(UserError, match=r"out/c.jpg would be overwritten: give another --out"):
            run(folder)
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    run(folder)
    assert mine.read_bytes() != b"mine"


def test_a_copy_that_was_not_drawn_is_not_taken_for_one_later(folder):
    (folder / "b.jpg").write_bytes(b"broken")
    run(folder)
    Path("out/b.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="b.jpg would be overwritten"):
        run(folder)


def test_after_a_kill_the_same_call_draws_again(folder, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*arguments):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(predict_files.Tally, "told", killed)
        with pytest.raises(Killed):
            run(folder)
    assert Path("out/a.jpg").exists()
    run(folder)
    assert Path("out/detections.json").exists()


def test_batches_are_smaller_where_pictures_are_large(monkeypatch):
    monkeypatch.setattr(detector, "LARGEST_BATCH", 100)
    sizes = [1, 1, 1, 1, 40, 1, 1, 1]
    named = [(str(n), np.zeros((size, 1, 3), np.uint8)) for n, size in enumerate(sizes)]
    batches = list(detector.in_batches(iter(named), 3))
    assert [[int(name) for name, _ in batch] for batch in batches] == [[0, 1, 2], [3, 4], [5, 6, 7]]
    assert list(detector.in_batches(iter([]), 3)) == []


def test_folders_that_were_not_looked_into_are_counted(folder):
    (folder / ".cache").mkdir()
    (folder / "out").mkdir()
    told = run(folder, recursive=False, out=folder / "out").told
    assert "not looked into: 1 subfolder; --recursive takes them too" in told
    assert "not looked into" not in run(folder, recursive=True).told


def test_a_result_prints_its_best_objects_and_no_pixels():
    scores = np.linspace(0.976, 0.5, 7, dtype=np.float32)
    labels = np.array([1, 2] * 3 + [1])
    names = tuple(CLASSES[label - 1] for label in labels)
    pixels = np.zeros((9, 9, 3), np.uint8)
    boxes = np.zeros((7, 4), np.float32)
    result = Result("photo", boxes, scores, labels, names, pixels, CLASSES)
    assert (
        repr(result)
        == str(result)
        == ("7 detections: cat 0.98, dog 0.90, cat 0.82, dog 0.74, cat 0.66, …")
    )
    one = Result("photo", boxes[:1], scores[:1], labels[:1], names[:1], pixels, CLASSES)
    none = Result("photo", boxes[:0], scores[:0], labels[:0], (), pixels, CLASSES)
    assert [repr(one), repr(none)] == ["1 detection: cat 0.98", "0 detections"]


def test_pictures_of_formats_that_are_not_read_are_named(folder):
    for name in ("phone.HEIC", "sub/logo.svg", "notes.txt", ".hidden.heic"):
        (folder / name).write_bytes(b"")
    predicted = run(folder)
    assert predicted.is_incomplete
    _, _, count, *lines = predicted.told.splitlines()
    assert count.startswith("left out 2 of 5 images")
    assert lines == [
        f"  {folder / 'phone.HEIC'}: .HEIC files are not read",
        f"  {folder / 'sub/logo.svg'}: .svg files are not read",
    ]
    assert len(json.loads(Path("out/detections.json").read_text())) == 3
    assert "logo" not in run(folder, recursive=False).told
