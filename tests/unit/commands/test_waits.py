import os
import subprocess
import sys

import pytest

from ssd.commands.waits import SPIN_COUNT, TAKEN, shorten_waits

BEFORE_TORCH = """
import os, sys
from ssd.commands.main import main

class Watcher:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ImportError(os.environ.get("GOMP_SPINCOUNT"))

sys.meta_path.insert(0, Watcher())
for arguments in (
    ["train"], ["check"], ["spikes"], ["evaluate", "x"], ["predict", "x", "y"],
    ["export", "x", "--out", "y"],
):
    os.environ.pop("GOMP_SPINCOUNT", None)
    try:
        main(arguments)
    except ImportError as error:
        print(arguments[0], error)
"""


@pytest.fixture
def environment(monkeypatch):
    for name in TAKEN:
        monkeypatch.setenv(name, "")  # so that it is undone even where it was not set before
        monkeypatch.delenv(name)
    return monkeypatch


def test_threads_spin_briefly_by_default(environment):
    shorten_waits()
    assert os.environ["GOMP_SPINCOUNT"] == SPIN_COUNT


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_user_has_set_stays(environment, name):
    environment.setenv(name, "1")
    shorten_waits()
    assert {taken: os.environ.get(taken) for taken in TAKEN if taken in os.environ} == {name: "1"}


def test_every_command_sets_it_before_it_imports_torch(environment):
    """OpenMP reads it when it is loaded, and never again."""
    command = [sys.executable, "-c", BEFORE_TORCH]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = ("train", "check", "spikes", "evaluate", "predict", "export")
    assert done.stdout.splitlines() == [f"{name} {SPIN_COUNT}" for name in commands]
