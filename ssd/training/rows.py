"""metrics.jsonl as a run writes it: rows that are whole, none of them twice."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssd.files import write_whole


class RowFile:
    """Adds rows to metrics.jsonl; while the disk has no room, they wait in memory.

    Args:
        path: the file; made if need be.
        say: takes a warning.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._file = path.open("ab", buffering=0)
        self._waiting: list[bytes] = []

    def add(self, row: dict[str, Any]) -> None:
        """Writes a row, and those that wait; numbers that JSON does not have become null."""
        line = json.dumps({key: finite_or_none(row[key]) for key in row}) + "\n"
        self._waiting.append(line.encode())
        end = os.fstat(self._file.fileno()).st_size
        rest = b"".join(self._waiting)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file.truncate(end)
            if len(self._waiting) == 1:
                self._say(f"warning: {self._path}: {error.strerror}: its rows wait in memory")
        else:
            self._waiting.clear()

    def sync(self) -> None:
        """Waits until the disk has the rows."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self._say(f"warning: {self._path}: {error.strerror}")

    def close(self) -> None:
        """Closes the file; rows that still wait are lost, and said to be."""
        self._file.close()
        if self._waiting:
            self._say(f"warning: {self._path} lacks the last {len(self._waiting)} rows")


def finite_or_none(value: Any) -> Any:
    """The value, or None for a number that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cut_back(path: Path, last_step: int, keep_evaluation: bool) -> None:
    """Removes from metrics.jsonl what came after a checkpoint, and a torn last line.

    Args:
        path: the file, which may be absent.
        last_step: the checkpoint's step, whose row stays.
        keep_evaluation: whether the evaluation of that step stays too.
    """
    if not path.exists():
        return
    lines = path.read_text().splitlines()
    last = last_step, keep_evaluation
    write_whole(path, "".join(line + "\n" for line in lines if _position(line) <= last))


def has_evaluation(path: Path, step: int) -> bool:
    """Whether metrics.jsonl holds the evaluation of a step."""
    lines = path.read_text().splitlines() if path.exists() else []
    return any(_position(line) == (step, True) for line in lines)


def _position(line: str) -> tuple[float, bool]:
    """(step, whether it is an evaluation); after all others where the line is no whole row."""
    try:
        row = json.loads(line)
        return int(row["step"]), row["kind"] != "train"
    except (ValueError, TypeError, KeyError, RecursionError):
        return math.inf, True
