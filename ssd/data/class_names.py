"""Class names that were given, held against those of the annotations."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

ALIKE = 0.8  # ratio of difflib from which on another spelling is probably a slip


def meant(given: Iterable[str], known: Iterable[str]) -> str:
    """Says which of `known` are meant by names that differ in case, space or a letter.

    It starts with a semicolon, and is empty if there is no such name.
    """
    spelled = {_fold(name): name for name in known}
    pairs = ((name, get_close_matches(_fold(name), spelled, 1, ALIKE)) for name in given)
    hints = [f"{spelled[alike[0]]!r} for {name!r}" for name, alike in pairs if alike]
    return f"; probably meant: {', '.join(hints)}" if hints else ""


def _fold(name: str) -> str:
    """A name without spaces, and without upper and lower case."""
    return "".join(name.split()).casefold()
