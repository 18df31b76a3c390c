"""One training writes in a run folder; whatever ends it, the next one can."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from ssd.common.errors import UserError
from ssd.run import lock as module
from ssd.run.lock import locked, trains_in

HOLDS = """
import os, sys, time
from pathlib import Path
from ssd.run.lock import locked
with locked(Path("run"), print):
    worker = os.fork()
    if worker:
        print(worker, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def told(monkeypatch):
    """What is said; a silence of half a second is enough."""
    monkeypatch.setattr(module, "BEAT", 0.05)
    monkeypatch.setattr(module, "SILENCE", 0.5)
    return []


@contextmanager
def another_process():
    """A process that trains in `run`, and its worker, a forked child."""
    command = [sys.executable, "-c", HOLDS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        try:
            yield process, worker
        finally:
            process.kill()
            os.kill(worker, signal.SIGKILL)


def write_record(run_dir, **changes):
    run_dir.mkdir(exist_ok=True)
    record = {"host": socket.gethostname(), "process": os.getpid(), "since": "long ago"}
    record |= {"machine": "another", "token": "0"} | changes
    (run_dir / "running.json").write_text(json.dumps(record))


def test_a_second_one_is_refused_and_told_of_the_first(run_dir):
    with locked(run_dir, print):
        owner = json.loads((run_dir / "running.json").read_text())
        assert (owner["host"], owner["process"]) == (socket.gethostname(), os.getpid())
        who = f"process {os.getpid()} on {socket.gethostname()} .since 20.* UTC.*another --out"
        with pytest.raises(UserError, match=who), locked(run_dir, print):
            pass
        assert str(trains_in(run_dir)).startswith(f"process {os.getpid()}")
        (run_dir / "kept").touch()
    assert [path.name for path in run_dir.iterdir()] == ["kept"]
    assert trains_in(run_dir) is None
    with locked(run_dir, print):
        pass


def test_a_new_folder_in_which_nothing_was_written_is_removed(run_dir):
    with locked(run_dir / "new", print):
        pass
    assert not (run_dir / "new").exists()


def test_a_killed_run_leaves_no_lock_although_its_worker_lives(run_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with another_process() as (process, worker):
        with pytest.raises(UserError, match=f"process {process.pid} on"), locked(run_dir, print):
            pass
        assert trains_in(run_dir).process == process.pid
        process.kill()
        process.wait()
        os.kill(worker, 0)
        assert trains_in(run_dir) is None
        said = []
        with locked(run_dir, said.append):
            assert json.loads((run_dir / "running.json").read_text())["process"] == os.getpid()
        assert said == []


def test_a_container_of_the_same_name_and_number_is_told_from_this_process(run_dir):
    """What its record says is what ours will say: the kernel knows which one lives."""
    write_record(run_dir, machine=module._machine())
    with locked(run_dir, print):
        pass


def test_another_machine_that_gives_signs_of_life_keeps_the_folder(run_dir, told):
    write_record(run_dir)
    ended = threading.Event()

    def live():
        while not ended.wait(0.05):
            os.utime(run_dir / "running.json")

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(UserError, match="since long ago"), locked(run_dir, told.append):
            pass
        assert trains_in(run_dir).since == "long ago"
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("age", [0, 3600])
def test_a_lock_that_another_machine_left_is_taken_over_and_told(run_dir, told, age):
    write_record(run_dir)
    os.utime(run_dir / "running.json", (time.time() - age,) * 2)
    with locked(run_dir, told.append):
        pass
    assert "is taken over from process" in told[-1]
    assert ("waiting" in told[0]) == (age == 0)


def test_without_locks_of_the_kernel_the_signs_of_life_decide(run_dir, told, monkeypatch):
    def none_here(file, how):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(module.fcntl, "flock", none_here)
    with (
        locked(run_dir, told.append),
        pytest.raises(UserError, match=f"process {os.getpid()} on"),
        locked(run_dir, told.append),
    ):
        pass
    with locked(run_dir, told.append):
        pass


def test_a_run_that_was_taken_over_stops_and_leaves_the_lock_to_the_other(run_dir, told):
    with locked(run_dir, told.append) as lock:
        lock.check()
        write_record(run_dir, host="elsewhere")
        end = time.monotonic() + 10
        while lock._other is None and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(UserError, match="was taken over by process .* on elsewhere"):
            lock.check()
    assert json.loads((run_dir / "running.json").read_text())["host"] == "elsewhere"


def test_a_record_that_is_none_is_no_owner(run_dir):
    run_dir.mkdir()
    for broken in ("", "{", "[1]", '{"host": 1}', "[" * 100_000):
        (run_dir / "running.json").write_text(broken)
        assert trains_in(run_dir) is None
        with locked(run_dir, print):
            pass
