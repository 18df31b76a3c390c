"""metrics.jsonl: one complete row for each optimizer step and each evaluation, none twice."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ssd.common.files import write_whole
from ssd.common.words import counted
from ssd.steps import EvaluationRow, StepRow

Row = StepRow | EvaluationRow
Kind = TypeVar("Kind", StepRow, EvaluationRow)
KIND_NAMES = {StepRow: "train", EvaluationRow: "eval"}


def read_rows(path: Path) -> list[Row]:
    """The rows of a run in the order of their steps; none if there is no file.

    Lines that are not rows, such as one cut off by a crash, are left out. If a run was resumed
    from an earlier step, the new rows replace the old ones after that step.
    """
    rows: list[Row] = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        row = parse_row(line)
        if row is None:
            continue
        while rows and _place(rows[-1]) >= _place(row):
            rows.pop()
        rows.append(row)
    return rows


def only(kind: type[Kind], rows: Sequence[Row]) -> list[Kind]:
    """The rows of one kind."""
    return [row for row in rows if isinstance(row, kind)]


def column(rows: Sequence[Row], name: str) -> npt.NDArray[np.float64]:
    """The figures [N] with a given name; NaN for a row without one."""
    return np.array([getattr(row, name) for row in rows], np.float64)  # None becomes NaN


def parse_row(line: bytes) -> Row | None:
    """The row in a line of JSON, or None; missing figures are NaN, other missing values None."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or _whole(entry.get("step")) is None:
        return None
    for kind, name in KIND_NAMES.items():
        if entry.get("kind") == name:
            values = {f.name: READERS[str(f.type)](entry.get(f.name)) for f in fields(kind)}
            row: Row = kind(**values)
            return row
    return None


def format_row(row: Row) -> bytes:
    """The row as a line of JSON; NaN and infinities become null."""
    return (json.dumps({"kind": KIND_NAMES[type(row)]} | _plain(asdict(row))) + "\n").encode()


class RowFile:
    """Appends rows to metrics.jsonl; while the disk is full, they wait in memory.

    Args:
        path: the file; created if need be.
        say: takes a warning.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._file = path.open("ab", buffering=0)
        self._waiting: list[bytes] = []

    def add(self, row: Row) -> None:
        """Writes the waiting rows and a new one."""
        self._waiting.append(format_row(row))
        end = os.fstat(self._file.fileno()).st_size
        rest = b"".join(self._waiting)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file.truncate(end)
            if len(self._waiting) == 1:  # only the first row that waits is news
                what = "new rows are kept in memory"
                self._say(f"warning: {self._path}: {error.strerror}: {what}")
        else:
            self._waiting.clear()

    def sync(self) -> None:
        """Waits until the disk has the rows."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self._say(f"warning: {self._path}: {error.strerror}")

    def close(self) -> None:
        """Closes the file; warns about rows that still wait, which are lost."""
        self._file.close()
        if self._waiting:
            self._say(f"warning: {self._path} lacks the last {counted(len(self._waiting), 'row')}")


def cut_back(path: Path, last_step: int, keep_evaluation: bool) -> None:
    """Removes from metrics.jsonl the rows after a checkpoint, and lines that are not rows.

    Args:
        path: the file, which may be absent.
        last_step: the checkpoint's step, whose row stays.
        keep_evaluation: whether the evaluation of that step stays too.
    """
    if not path.exists():
        return
    last = last_step, keep_evaluation  # as `_place` has it
    lines = path.read_bytes().splitlines()
    kept = [line for line in lines if (row := parse_row(line)) is not None and _place(row) <= last]
    write_whole(path, b"".join(line + b"\n" for line in kept))


def has_evaluation(path: Path, step: int) -> bool:
    """Returns whether metrics.jsonl holds the evaluation of a step."""
    return any(row.step == step for row in only(EvaluationRow, read_rows(path)))


def _place(row: Row) -> tuple[int, bool]:
    """The sort key of a row: a step's evaluation comes after the step."""
    return row.step, isinstance(row, EvaluationRow)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> float:
    try:
        return float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        return math.nan


def _numbers(value: Any) -> dict[str, float]:
    table = value if isinstance(value, dict) else {}
    return {name: _number(item) for name, item in table.items()}


def _whole(value: Any) -> int | None:
    return value if type(value) is int and abs(value) < 2**63 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


# By the annotation of a field of `ssd.steps`, as text; a new type there needs an entry here.
READERS: dict[str, Callable[[Any], Any]] = {
    "int": _whole,
    "int | None": _whole,
    "float": _number,
    "bool | None": _flag,
    "str": _text,
    "dict[str, float]": _numbers,
}
