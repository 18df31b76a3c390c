"""What long work shows: a bar on a terminal, plain lines elsewhere."""

import io
import sys

import pytest

from ssd.common import progress
from ssd.common.progress import Progress, say
from ssd.common.words import counted


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_off_a_terminal_a_line_comes_every_half_minute(clock, capsys):
    with Progress("training", 1200, "step", done=1000) as shown:
        for _ in range(200):
            shown.note("loss 1.5")
            shown.advance()
            clock[0] += 0.5
    assert capsys.readouterr().err.splitlines() == [
        "training: 1,061 of 1,200 steps, 00:30, 2.03 steps/s, about 01:08 left, loss 1.5",
        "training: 1,121 of 1,200 steps, 01:00, 2.02 steps/s, about 00:39 left, loss 1.5",
        "training: 1,181 of 1,200 steps, 01:30, 2.01 steps/s, about 00:09 left, loss 1.5",
    ]


def test_hidden_progress_shows_nothing(clock, capsys):
    with Progress("training", 2, "step", hidden=True) as shown:
        for _ in range(2):
            clock[0] += 100
            shown.advance()
    assert capsys.readouterr().err == ""


def test_on_a_terminal_the_bar_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("training", 3, "step") as shown:
        for _ in range(3):
            shown.advance()
    written = sys.stderr.getvalue()
    assert "training" in written
    *_, last, end = written.split("\r")
    assert last.strip() == end == ""
    assert "\n" not in written


@pytest.mark.parametrize(
    ("environment", "shows"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_warning_is_yellow_on_a_terminal_that_shows_colours(monkeypatch, environment, shows):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Terminal())
    say("warning: the disk is full")
    word = "\033[33mwarning:\033[0m" if shows else "warning:"
    assert sys.stdout.getvalue() == f"{word} the disk is full\n"


def test_elsewhere_nothing_has_a_colour(capsys):
    say("warning: the disk is full")
    assert capsys.readouterr().out == "warning: the disk is full\n"


def test_a_noun_agrees_with_its_number():
    assert [counted(number, "image") for number in (0, 1, 1726)] == [
        *("0 images", "1 image", "1,726 images")
    ]
    assert [counted(2, noun) for noun in ("entry", "box", "loss")] == [
        *("2 entries", "2 boxes", "2 losses")
    ]
