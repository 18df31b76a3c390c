"""What real clusters do to a run: kills, signals, dead ranks, full disks. Nothing is lost."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from compare import differences, rows

from ssd.run.checkpoint import is_intact, load_checkpoint
from ssd.run.checkpoints import list_checkpoints, newest_intact

HERE = Path(__file__).parent

pytestmark = pytest.mark.long


def script(name, *arguments):
    command = [sys.executable, str(HERE / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


def test_kills_with_no_one_and_two_workers_change_nothing():
    done = script("soak.py", "--kills", "5", "--workers", "0", "1", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    kills = re.findall(r"(\d+) kills, (\d+) of them while saving", done.stdout)
    assert len(kills) == 3
    assert sum(int(killed) for killed, _ in kills) >= 8
    assert sum(int(while_saving) for _, while_saving in kills) >= 1


def test_sigterm_in_any_phase_saves_and_the_run_goes_on_to_the_same_end():
    done = script("stops.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stopped in 5 phases" in done.stdout


RANK_DIES = """
import os, runpy, signal
from pathlib import Path
from unittest import mock
from ssd.training import trainer
from ssd.training.ranks import rank

train_step = trainer.train_step

def step(state, *arguments):
    died = Path("died")
    if rank() == 1 and state.step == 4 and {dies} and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(state, *arguments)

with mock.patch.object(trainer, "train_step", step):
    runpy.run_path({tool!r}, run_name="__main__")
"""


@pytest.mark.distributed
def test_a_killed_rank_is_started_again_with_the_others_and_the_end_is_the_same(
    torchrun, repository, small_run, tmp_path
):
    flags = ("--training.batch_size", "2", "--training.steps", "8", "--checkpoint.every_steps", "3")
    for name, dies in (("whole", False), ("cut", True)):
        program = tmp_path / f"{name}.py"
        program.write_text(RANK_DIES.format(dies=dies, tool=str(repository / "tools" / "train.py")))
        done = torchrun(2, program, *small_run, *flags, "--out", name, restarts=1)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "died").exists()
    assert "resuming from cut/checkpoints/step_3" in done.stdout
    assert differences(tmp_path / "whole", tmp_path / "cut") == []
    state = load_checkpoint(list_checkpoints(tmp_path / "cut" / "checkpoints")[0]).state
    assert len(state["random"]) == 2


@pytest.mark.distributed
def test_a_signal_to_one_rank_in_the_evaluation_stops_both(
    torchrun, repository, small_run, tmp_path
):
    program = tmp_path / "signalled.py"
    program.write_text(f"""
import os, runpy, signal, sys
from pathlib import Path
from unittest import mock
from ssd.detect import detector
from ssd.training.ranks import rank

detect = detector.Detector.__call__

def signalled(self, samples):
    if rank() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return detect(self, samples)

with mock.patch.object(detector.Detector, "__call__", signalled):
    try:
        runpy.run_path({str(repository / "tools" / "train.py")!r}, run_name="__main__")
    except SystemExit as end:
        threads = [name.read_text() for name in Path("/proc/self/task").glob("*/comm")]
        count = sum("gloo" in name for name in threads)
        os.write(1, f"threads of gloo: {{count}}\\n".encode())  # whole, as two ranks write
        sys.exit(0 if end.code == 143 else 1)  # so that torchrun stops none of them itself
""")
    done = torchrun(2, program, *small_run, "--training.batch_size", "2", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("threads of gloo: 0") == 2  # one at work would abort the end of Python
    assert done.stdout.count("stopped after step 6, which is saved") == 1
    assert [row["kind"] for row in rows(tmp_path / "run")] == ["train"] * 6


def test_sigusr1_saves_and_the_run_goes_on(repository, small_run, tmp_path):
    command = [sys.executable, str(repository / "tools" / "train.py"), *small_run]
    command += ["--training.epochs", "400", "--checkpoint.every_steps", "2000", "--out", "run"]
    command += ["--evaluation.every_epochs", "0", "--data.workers", "1"]
    checkpoints = tmp_path / "run" / "checkpoints"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        until(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
        for count in (1, 2):
            process.send_signal(signal.SIGUSR1)
            until(lambda count=count: len(list_checkpoints(checkpoints)) == count)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143


def until(condition, seconds=100):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 80 MB, where three checkpoints of 22 MB have room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a tmpfs here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path):
    """Writes a file until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_on_a_disk_that_fills_up_nothing_is_lost_and_training_goes_on(
    repository, small_run, small_disk, tmp_path
):
    run_dir, log = small_disk / "run", tmp_path / "log"
    command = [sys.executable, str(repository / "tools" / "train.py"), *small_run]
    command += ["--training.epochs", "300", "--evaluation.every_epochs", "0", "--out", str(run_dir)]
    command += ["--checkpoint.max_failed", "1000"]
    checkpoints = run_dir / "checkpoints"
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as process,
    ):
        until(lambda: len(list_checkpoints(checkpoints)) > 1)
        fill(small_disk / "filler")
        until(lambda: "rows are kept in memory" in log.read_text())
        until(lambda: log.read_text().count("warning: could not save the checkpoint") > 1)
        before = list_checkpoints(checkpoints)
        assert len([path for path in before if is_intact(path)]) >= 2
        (small_disk / "filler").unlink()
        until(lambda: list_checkpoints(checkpoints)[0] != before[0])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143, log.read_text()
    checkpoint = newest_intact(checkpoints)
    assert checkpoint.path == list_checkpoints(checkpoints)[0]
    steps = [row["step"] for row in rows(run_dir)]
    assert steps == list(range(1, checkpoint.manifest.step + 1))
