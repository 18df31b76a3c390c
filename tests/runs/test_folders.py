"""What commands write and where: one writer, nothing overwritten, results that tell their origin."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest


def rows(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def training(repository, small_run, tmp_path):
    """Starts a long training in `run`, and returns its process after some steps."""
    command = [sys.executable, str(repository / "tools" / "train.py"), *small_run]
    command += ["--training.steps", "2000", "--out", "run", "--data.workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while not (tmp_path / "run/checkpoints/step_6/manifest.json").exists():
            assert time.monotonic() < end, "it does not train"
            time.sleep(0.05)
        yield process
        process.kill()


def test_a_second_training_in_a_folder_is_refused_and_a_killed_one_goes_on(
    tool, training, small_run, tmp_path
):
    again = ("train.py", *small_run, "--out", "run")
    second = tool(*again, "--training.steps", "9")
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert f"is being trained by process {training.pid} on {os.uname().nodename} (since 20" in (
        second.stderr
    )
    assert training.poll() is None
    training.send_signal(signal.SIGKILL)
    training.wait()
    reached = max(row["step"] for row in rows(tmp_path / "run"))
    third = tool(*again, "--training.steps", reached + 2)
    assert third.returncode == 0, third.stderr
    assert "resuming from" in third.stdout
    steps = [row["step"] for row in rows(tmp_path / "run") if row["kind"] == "train"]
    assert steps == list(range(1, reached + 3))
    assert not (tmp_path / "run" / "running.json").exists()
