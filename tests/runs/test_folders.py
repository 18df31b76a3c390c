"""What commands write, and where: one writer, nothing overwritten, results that tell of what."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ssd
from ssd.run.checkpoint import record_score


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


def stored(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_evaluations_that_are_not_the_runs_own_have_folders_of_their_own(
    tool, small_run, small_shapes, tmp_path
):
    run_dir = tmp_path / "run"
    flags = ("--training.steps", "12", "--checkpoint.keep", "3", "--checkpoint.every_steps", "3")
    assert tool("train.py", *small_run, *flags, "--out", "run").returncode == 0
    own = stored(run_dir)
    assert own | {"date": None} == own | {
        **{"date": None, "data": str(small_shapes), "format": "voc", "split": "test", "step": 12},
        **{"num_images": 8, "left_out": 0, "iou_threshold": 0.5, "metric": "voc_area"},
        **{"model": {"backbone": "ssd7", "input_size": 96}},
        **{"checkpoint": "run/checkpoints/step_12"},
    }
    before = (run_dir / "evaluation.json").read_bytes(), (run_dir / "report.html").read_bytes()
    for more, name, changed in (
        (("--split", "trainval"), "trainval-step_12", {"split": "trainval", "num_images": 24}),
        (("--evaluation.iou_threshold", "0.9"), "test-step_12-iou_threshold_0.9", {}),
        (("--evaluation.metric", "voc07"), "test-step_12-metric_voc07", {"metric": "voc07"}),
    ):
        done = tool("evaluate.py", "run", "--checkpoint", "last", *more)
        assert done.returncode == 0, done.stderr
        assert f"results: run/evaluations/{name}\n" in done.stdout
        found = stored(run_dir / "evaluations" / name)
        assert {key: found[key] for key in changed} == changed
    done = tool("evaluate.py", "run/checkpoints/step_9")
    assert "using step 9, as given (run/checkpoints/step_9)\n" in done.stdout
    assert f"\n{small_shapes} (voc), split test: 8 images\n" in done.stdout
    assert "\nssd7 at 96 pixels, voc_area at IoU 0.5, scores above 0.01\n" in done.stdout
    assert stored(run_dir / "evaluations" / "test-step_9")["step"] == 9
    after = (run_dir / "evaluation.json").read_bytes(), (run_dir / "report.html").read_bytes()
    assert after == before
    done = tool("evaluate.py", "run", "--checkpoint", "last", "--data.workers", "1")
    assert "results: run\n" in done.stdout
    assert stored(run_dir)["mAP"] == own["mAP"]


def test_the_best_checkpoint_is_used_and_said_by_every_tool(tool, small_run, small_shapes):
    flags = ("--training.steps", "12", "--checkpoint.every_steps", "6", "--out", "run")
    assert tool("train.py", *small_run, *flags).returncode == 0
    checkpoints = [Path("run/checkpoints") / f"step_{step}" for step in (6, 12)]
    for checkpoint, score in zip(checkpoints, (0.75, 0.25), strict=True):
        record_score(checkpoint, score)
    picture = next((small_shapes / "JPEGImages").iterdir())
    best = "using step 6, the best evaluated one that is left, mAP 0.7500 (run/checkpoints/step_6)"
    for command in (("evaluate.py", "run"), ("predict.py", "run", picture)):
        done = tool(*command)
        assert done.returncode == 0, done.stderr
        assert best in done.stdout or "the best of 2 evaluations, mAP 0.7500" in done.stdout
        last = tool(*command, "--checkpoint", "last")
        assert "using step 12, the newest checkpoint (run/checkpoints/step_12)" in last.stdout
    file = checkpoints[1] / "state.pt"
    file.write_bytes(file.read_bytes()[:-1])
    for command in (("evaluate.py", "run"), ("predict.py", "run", picture)):
        assert "passed over: run/checkpoints/step_12/state.pt is damaged" in tool(*command).stderr
        wrong = tool(*command, "--checkpoint", "7")
        assert wrong.returncode == 2
        assert "--checkpoint is 7, but has to be best, last or a step: 6, 12" in wrong.stderr
    itself = tool("predict.py", checkpoints[0], picture, "--checkpoint=best")
    assert itself.returncode == 2
    assert "is a checkpoint itself: leave --checkpoint best out" in itself.stderr
    assert ssd.load("run").classes == ssd.load("run", checkpoint=6).classes


def test_an_evaluation_beside_a_training_leaves_the_runs_files_alone(tool, training, tmp_path):
    done = tool("evaluate.py", "run", "--checkpoint", "last", timeout=200)
    assert done.returncode == 0, done.stderr
    told = f"run is being trained by process {training.pid} on "
    assert told in done.stdout
    assert "results: run/evaluations/test-step_" in done.stdout
    assert training.poll() is None
    assert not (tmp_path / "run" / "evaluation.json").exists()
