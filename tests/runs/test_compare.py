"""Runs set beside each other, and two groups of them with intervals."""

import json
import re
import shutil

import pytest

from ssd.commands.compare import main
from ssd.common.errors import UserError


@pytest.fixture(scope="module")
def runs(tool, small_shapes, tmp_path_factory):
    """A folder with three runs, the last of another length."""
    home = tmp_path_factory.mktemp("runs")
    flags = ["--data.format", "voc", "--data.root", str(small_shapes), "--data.workers", "0"]
    flags += ["--model.input_size", "96", "--training.batch_size", "4", "--training.device", "cpu"]
    flags += ["--evaluation.every_epochs", "0"]
    for name, seed, steps in (("a", 0, 20), ("b", 1, 20), ("c", 0, 2)):
        length = ["--training.seed", seed, "--training.steps", steps, "--out", home / name]
        done = tool("train.py", *flags, *length)
        assert done.returncode == 0, done.stderr
    return home


def score(folder):
    return json.loads((folder / "evaluation.json").read_text())["mAP"]


def test_two_groups_with_their_difference(runs, capsys):
    a, b, c = (runs / name for name in "abc")
    assert main([str(a), str(b), "--to", str(c)]) == 0
    told = capsys.readouterr().out
    mean = next(line for line in told.splitlines() if line.startswith("mAP"))
    figures = [float(figure) for figure in re.findall(r"[-+]?\d+\.\d", mean)]
    groups = 50 * (score(a) + score(b)), 100 * score(c)
    assert figures[::3] == pytest.approx([*groups, groups[0] - groups[1]], abs=0.051)
    assert all(low <= high for low, high in zip(figures[1::3], figures[2::3], strict=True))
    assert "1,000 resamples of the 8 images and of the runs" in told
    assert main([str(a), "--to", str(c)]) == 0
    assert "8 images alone: a run on each side says nothing" in capsys.readouterr().out


def test_runs_that_cannot_be_compared(runs, tmp_path):
    def refused(other):
        with pytest.raises(UserError) as error:
            main([str(runs / "a"), "--to", str(other)])
        return str(error.value)

    assert f"{tmp_path / 'nope'} is no folder" in refused(tmp_path / "nope")
    assert f"{tmp_path} has no evaluation.json" in refused(tmp_path)
    assert "is given 2 times" in refused(runs / "b" / ".." / "a")
    with pytest.raises(UserError, match="is given 2 times"):
        main([str(runs / "a"), str(runs / "a"), "--to", str(runs / "c")])
    not_text = tmp_path / "not text"
    shutil.copytree(runs / "c", not_text)
    (not_text / "config.yaml").write_bytes(b"\xff\xfe\x00")
    assert "config.yaml" in refused(not_text)
    changed = tmp_path / "changed"
    changed.mkdir()
    for name in ("evaluation.json", "config.yaml"):
        (changed / name).write_text((runs / "c" / name).read_text())
    (changed / "detections.json").write_text("[]")
    stored = json.loads((runs / "a" / "evaluation.json").read_text())
    (changed / "evaluation.json").write_text(json.dumps(stored))
    assert "the data has changed since" in refused(changed)
    for name, value in (("iou_threshold", 0.7), ("mirror", True)):
        (changed / "evaluation.json").write_text(json.dumps(stored | {name: value}))
        assert f"with {name} {stored[name]} and" in refused(changed)
