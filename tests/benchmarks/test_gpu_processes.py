import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from benchmarks.gpu import processes
from benchmarks.gpu.rows import Note, Options, Part, Row
from tests.benchmarks.fake_parts import PARTS

OPTIONS = Options("coco", "", "", workers=3, folder="")


@pytest.fixture
def command(repository, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(repository))
    return [sys.executable, str(repository / "tests" / "benchmarks" / "fake_parts.py")]


def run(parts, seconds, command):
    told = []
    processes.run_parts(parts, OPTIONS, seconds, command, told.append)
    return told


def test_a_part_that_fails_dies_or_hangs_does_not_take_the_others_with_it(command):
    assert run(PARTS, 60, command) == [
        Row("rate", 50.0, "images/s", "3 workers"),
        Row("twice", 100.0, "images/s"),
        Row("before the failure", 1.0, "ms"),
        Note("fails", "failed: RuntimeError: no kernel for this"),
        Note("mistake", "failed: there is no such folder"),
        Note("dies", "failed: its process ended by SIGKILL"),
        Row("before the hang", 2.0, "ms"),
        Note("hangs", "failed: no end after 0.5 s"),
        Row("seen by the last part", 4, ""),
    ]


def test_parts_for_which_no_time_is_left_are_named(command, monkeypatch):
    assert run({"knows": PARTS["knows"]}, 4, command) == [Note("knows", "left out, no time")]
    monkeypatch.setattr(processes, "LEAST", 0)
    endless = Part(100, PARTS["hangs"].measure)
    assert run({"hangs": endless, "knows": PARTS["knows"]}, 3, command) == [
        Row("before the hang", 2.0, "ms"),
        Note("hangs", "stopped, no time"),
        Note("knows", "left out, no time"),
    ]


def test_a_process_that_does_not_start_fails_its_part(monkeypatch):
    silent = [sys.executable, "-c", "import time; time.sleep(60)"]
    broken = [sys.executable, "-c", "raise SystemExit(3)"]
    part = {"knows": PARTS["knows"]}
    assert run(part, 60, broken) == [Note("knows", "failed: its process ended with status 3")]
    monkeypatch.setattr(processes, "START_LIMIT", 0.5)
    assert run(part, 60, silent) == [Note("knows", "failed: no end after 0.5 s")]


def test_the_process_ends_when_the_benchmark_is_killed(command):
    request = {"parts": ["hangs"], "options": asdict(OPTIONS), "known": {}}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    process.stdin.write(json.dumps(request) + "\n")
    assert json.loads(process.stdout.readline()) == {"begins": "hangs"}
    process.stdin.close()
    assert process.wait(30) == 1
    process.stdout.close()
