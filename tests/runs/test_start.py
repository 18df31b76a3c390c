"""Every command once in a fresh interpreter: the others are forked from one that has started."""

import os
import subprocess
import sys

import pytest

HELP = ["train", "evaluate", "predict", "export", "check_data", "spikes", "benchmark"]


@pytest.mark.parametrize("name", HELP)
def test_a_command_starts_and_teaches(repository, name):
    command = [sys.executable, str(repository / "tools" / f"{name}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"tools/{name}.py" in done.stdout


def test_a_training_starts_in_a_fresh_interpreter(repository, small_run, tmp_path):
    command = [sys.executable, str(repository / "tools" / "train.py"), *small_run]
    command += ["--training.steps", "2", "--out", "run"]
    unseen = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=unseen
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Traceback") == 0
    assert (tmp_path / "run" / "evaluation.json").exists()
