"""Data whose boxes make no sense, or of which nothing can be learnt, by the commands."""

import json
import re
import shutil

import pytest


@pytest.fixture
def shapes(small_shapes, tmp_path):
    """A copy of the small data set, whose annotations may be changed."""
    return shutil.copytree(small_shapes, tmp_path / "shapes")


@pytest.fixture
def data(shapes):
    return [
        *("--data.format", "voc", "--data.root", str(shapes), "--out", "out"),
        *("--data.train_split", "trainval", "--data.eval_split", "test"),
    ]


@pytest.fixture
def flags(small_run, data):
    return [*small_run, *data]


def edit(root, pattern, instead):
    """Replaces a pattern in all annotations."""
    changes = 0
    for path in (root / "Annotations").iterdir():
        text, count = re.subn(pattern, instead, path.read_text())
        path.write_text(text)
        changes += count
    assert changes > 10


def swap_in_x(root):
    edit(root, "<xmin>(.*?)</xmin>(.*?)<xmax>(.*?)</xmax>", r"<xmin>\3</xmin>\2<xmax>\1</xmax>")


def test_swapped_corners_stop_a_training_unless_they_are_allowed(tool, shapes, flags):
    swap_in_x(shapes)
    refused = tool("train.py", *flags, "--training.steps", "1")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "objects (100 %) make no sense" in line
    assert "order in which they were drawn" in line
    assert line.endswith("or set --data.max_mended 1 to train anyway")

    allowed = ["--data.max_mended", "1"]
    done = tool("train.py", *flags, *allowed, "--training.steps", "1")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^mended +\d+ corners swapped$", done.stdout, re.M)
    assert re.search(r"^caution +the boxes of .* make no sense", done.stdout, re.M)


def test_the_check_tells_doubts_and_repairs(tool, shapes, data, tmp_path):
    swap_in_x(shapes)
    done = tool("check_data.py", *data)
    assert done.returncode == 1, done.stderr
    details = json.loads((tmp_path / "out/data_check.json").read_text())
    assert details["repairs"]["corners swapped"] > 10
    assert re.search(r"^mended: [\d,]+ corners swapped$", done.stdout, re.M)
    broken = {one["kind"] for one in details["findings"] if one["is_broken"]}
    assert broken == {"many doubtful boxes"}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--data.train_difficult", "false"], "to train on, only .* --data.train_difficult true"),
        ([], "no object to evaluate on, only .* marked difficult"),
    ],
)
def test_difficult_objects_alone_are_refused_at_once(mistaken, shapes, flags, more, told):
    edit(shapes, r"<difficult>0<", "<difficult>1<")
    error = mistaken("train.py", *flags, *more)
    assert len(error.splitlines()) == 1
    assert re.search(told, error)
