"""Whole runs with mosaic and mixup: resuming, and the closing phase with whole images."""

import shutil

import pytest
from compare import differences, rows

MIXED = ("--augment.mosaic_probability", "0.6", "--augment.mixup_probability", "0.5")


@pytest.fixture
def flags(small_run):
    """Three epochs of three steps, each of two micro-batches of four images."""
    batch = ("--training.batch_size", "4", "--training.accumulate", "2")
    batch += ("--training.log_every", "1")
    return [*small_run, *batch, "--training.epochs", "3", "--evaluation.every_epochs", "0"]


def test_a_resume_across_the_start_of_the_closing_phase_changes_nothing(tool, flags, tmp_path):
    flags += [*MIXED, "--augment.closing_share", "0.3", "--checkpoint.every_steps", "2"]
    for out in ("whole", "cut"):
        done = tool("train.py", *flags, "--checkpoint.keep", "9", "--out", out)
        assert done.returncode == 0, done.stderr
    for path in (tmp_path / "cut" / "checkpoints").iterdir():
        if path.name not in ("step_2", "step_4"):  # the phase begins with step 7
            shutil.rmtree(path)
    resumed = tool("train.py", *flags, "--checkpoint.keep", "9", "--out", "cut")
    assert "resuming from cut/checkpoints/step_4" in resumed.stdout
    assert differences(tmp_path / "whole", tmp_path / "cut") == []


def test_a_run_that_is_all_closing_phase_is_one_with_whole_images(tool, flags, tmp_path):
    for out, more in {
        "plain": ("--augment.crop", "false", "--augment.expand_probability", "0"),
        "closed": (*MIXED, "--augment.closing_share", "1"),
        "mixed": (*MIXED, "--augment.closing_share", "0.7"),
    }.items():
        done = tool("train.py", *flags, *more, "--out", out)
        assert done.returncode == 0, done.stderr
    assert differences(tmp_path / "plain", tmp_path / "closed") == []
    losses = [
        [row["loss"] for row in rows(tmp_path / out) if row["kind"] == "train"]
        for out in ("plain", "mixed")
    ]
    assert all(one != other for one, other in zip(*losses, strict=True))
