"""Colour, where a terminal shows it."""

from __future__ import annotations

import os
import sys
from typing import TextIO

RED, GREEN, YELLOW = 31, 32, 33
MARKS = {"error": RED, "warning": YELLOW}


def painted(text: str, colour: int, stream: TextIO) -> str:
    """The text in a colour, if the stream is a terminal that shows colours.

    A user who sets NO_COLOR to anything wants none (no-color.org). Windows is left out: its older
    consoles print the codes.
    """
    shows = stream.isatty() and os.environ.get("TERM") != "dumb" and sys.platform != "win32"
    if not shows or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{colour}m{text}\033[0m"


def marked(line: str, stream: TextIO) -> str:
    """The line with a first word `error:` or `warning:` in colour."""
    word, colon, rest = line.partition(":")
    return painted(word + colon, MARKS[word], stream) + rest if word in MARKS else line
