"""One bad picture never costs a run: those of the test set, before and while they are evaluated."""

import json
import shutil

import cv2
import pytest


@pytest.fixture
def data(small_shapes, tmp_path):
    """A copy of the data that may be damaged."""
    return shutil.copytree(small_shapes, tmp_path / "data")


@pytest.fixture
def flags(small_run, data):
    steps = ("--training.steps", "6", "--out", "run")
    return [*small_run, "--data.root", str(data), *steps]


def images_of(data, split):
    stems = (data / f"ImageSets/Main/{split}.txt").read_text().split()
    return [next((data / "JPEGImages").glob(f"{stem}.*")) for stem in stems]


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-400])


def damage(path):
    """Leaves a PNG of the same size with its header and its end, so that only decoding finds it."""
    png = cv2.imencode(".png", cv2.imread(str(path)))[1].tobytes()
    start = png.index(b"IDAT") + 20
    path.write_bytes(png[:start] + bytes(100) + png[start + 100 :])


def evaluation(run):
    return json.loads((run / "evaluation.json").read_text())


@pytest.mark.parametrize("harm", [cut_off, damage])
def test_a_bad_test_image_is_left_out_and_counted(tool, flags, data, tmp_path, harm):
    bad = images_of(data, "test")[2]
    harm(bad)
    done = tool("train.py", *flags)
    assert done.returncode == 0, done.stderr
    printed = done.stdout + done.stderr
    assert printed.count(f"left out of the evaluation: {bad}: image is ") == 1
    result = evaluation(tmp_path / "run")
    assert (result["num_images"], result["left_out"]) == (7, 1)
    assert str(bad) in (tmp_path / "run/unreadable.txt").read_text()
    assert bad.stem not in (tmp_path / "run/detections.json").read_text()

    again = tool("evaluate.py", "run", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert "7 images, 1 left out" in again.stdout
    assert f"left out: {bad}: image is " in again.stdout
    assert evaluation(tmp_path / "again") | {"date": None} == result | {"date": None}


def test_a_run_that_goes_on_does_not_die_of_an_image_that_broke_meanwhile(
    tool, flags, data, tmp_path
):
    half = [*flags, "--training.steps", "3"]
    assert tool("train.py", *half).returncode == 0
    assert evaluation(tmp_path / "run")["left_out"] == 0
    cut_off(images_of(data, "trainval")[3])
    cut_off(images_of(data, "test")[3])
    done = tool("train.py", *flags)
    assert done.returncode == 0, done.stderr
    assert "resuming from" in done.stdout
    assert evaluation(tmp_path / "run")["left_out"] == 1


def test_too_many_are_one_line_before_the_first_step(mistaken, flags, data):
    bad = images_of(data, "trainval")[:7]
    for path in bad:
        cut_off(path)
    error = mistaken("train.py", *flags)
    assert len(error.splitlines()) == 1
    assert "7 of 24 images of" in error
    assert "more than data.max_unreadable 0.01 allows" in error
    assert f"ssd check {data} lists all" in error
    assert all(str(path) in error for path in bad[:5])
    assert str(bad[5]) not in error


def test_a_higher_share_may_be_left_out(tool, flags, data):
    for path in images_of(data, "trainval")[:7]:
        cut_off(path)
    done = tool("train.py", *flags, "--data.max_unreadable", "0.3")
    assert done.returncode == 0, done.stderr
    assert "17 images to train on" in done.stdout
    assert (done.stdout + done.stderr).count("left out of the training: ") == 5
    assert "… and 2 more, see run/unreadable.txt" in done.stdout + done.stderr


@pytest.mark.distributed
def test_ranks_count_the_training_images_together(torchrun, repository, flags, data, tmp_path):
    """Each rank meets another one, and one alone is always allowed."""
    bad = images_of(data, "trainval")[:2]
    for path in bad:
        damage(path)
    halves = ("--training.batch_size", "2")
    done = torchrun(2, repository / "tools" / "train.py", *flags, *halves)
    assert done.returncode != 0
    assert "error: 2 of 24 training images cannot be used" in done.stderr
    noted = (tmp_path / "run/unreadable.txt").read_text().splitlines()
    assert sorted(line.partition(": ")[0] for line in noted) == sorted(map(str, bad))
