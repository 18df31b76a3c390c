"""What signals ask of a run."""

import signal
import subprocess
import sys

import pytest

from ssd.training.signals import STOPPED_BY_SIGNAL, Signals, Stopped


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_asks_to_stop(number, status):
    before = signal.getsignal(number)
    with Signals() as asked:
        assert not asked.stop
        signal.raise_signal(number)
        assert asked.stop
        assert asked.status == status
    assert signal.getsignal(number) == before


@pytest.fixture
def python_handles_ctrl_c():
    """A background process of a shell ignores it from its start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("python_handles_ctrl_c")
def test_a_second_ctrl_c_in_a_program_is_its_own():
    """No exit: a notebook keeps what it holds."""
    with Signals() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked.stop
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_sigusr1_asks_to_save_as_often_as_it_comes():
    with Signals() as asked:
        for _ in range(2):
            signal.raise_signal(signal.SIGUSR1)
            assert asked.save
            assert not asked.stop
            asked.save = False


@pytest.mark.parametrize("before", [True, False])
def test_a_stop_ends_what_may_be_interrupted_whether_it_comes_before_or_within(before):
    reached = []

    def evaluate(asked):
        with asked.interrupting():
            reached.append("begun")
            signal.raise_signal(signal.SIGTERM)
            reached.append("done")

    with Signals() as asked:
        if before:
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped):
            evaluate(asked)
        assert reached == ([] if before else ["begun"])
        assert asked.stop


def test_a_save_interrupts_nothing():
    with Signals() as asked, asked.interrupting():
        signal.raise_signal(signal.SIGUSR1)
    assert asked.save


STOPPED_TWICE = """
import signal, sys
from ssd.training.signals import Signals
with Signals():
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    sys.exit("the second signal did not end it")
"""


def test_the_second_one_ends_the_process_at_once():
    done = subprocess.run([sys.executable, "-c", STOPPED_TWICE], timeout=60, check=False)
    assert done.returncode == STOPPED_BY_SIGNAL


def test_under_torchrun_one_ctrl_c_comes_twice(monkeypatch):
    """From the terminal, and passed on by torchrun."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    with Signals() as asked:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert asked.stop
