"""What commands write, and where: one writer, nothing overwritten, results that tell of what."""

import json
import os
import shutil
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


def test_a_run_that_has_lost_its_checkpoints_is_not_started_anew(tool, small_run, tmp_path):
    run_dir = tmp_path / "run"
    command = ("train.py", *small_run, "--training.steps", "6", "--out", run_dir)
    assert tool(*command).returncode == 0
    shutil.rmtree(run_dir / "checkpoints")
    before = {path.name: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}
    for resume in ("auto", "never"):
        done = tool(*command, "--resume", resume)
        assert done.returncode == 2
        assert (
            "none of its checkpoints: put checkpoints/ back, or give another --out" in done.stderr
        )
    assert {p.name: p.read_bytes() for p in run_dir.iterdir() if p.is_file()} == before
    for name in ("report.html", "evaluation.json", "metrics.jsonl"):
        (run_dir / name).unlink()
    (run_dir / "checkpoints").mkdir()  # as a kill before the first checkpoint leaves it
    done = tool(*command)
    assert done.returncode == 0, done.stderr


MINE = {
    "train.py": ["--out", "mine"],
    "check_data.py": ["--out", "mine"],
    "spikes.py": ["--out", "mine"],
    "spikes.py --explain": ["--explain", "losses.csv", "--out", "mine"],
    "evaluate.py": ["--detections", "d.json", "--out", "mine"],
    "predict.py": ["gone", "d.json", "--out", "mine"],
    "export.py": ["gone", "--out", "mine/model.pth"],
}


@pytest.mark.parametrize("tool", MINE)
def test_no_command_writes_into_a_folder_of_the_users(mistaken, small_run, tool, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("report.html", "config.yaml", "metrics.jsonl", "model.pth", "detections.json"):
        (mine / name).write_text("mine")
    (tmp_path / "d.json").write_text("[]")
    settings = small_run if tool in ("train.py", "check_data.py", "evaluate.py") else []
    error = mistaken(tool.split()[0], *settings, *MINE[tool])
    told = "is there already" if tool == "export.py" else "mine holds other files (config.yaml, "
    assert told in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in mine.iterdir()) == [
        *("config.yaml", "detections.json", "metrics.jsonl", "model.pth", "report.html")
    ]
    assert all(path.read_text() == "mine" for path in mine.iterdir())
