"""Reads metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl in the order of their steps.

    Lines that are no row, such as one that a crash has torn, are left out. Where a run was
    resumed from an earlier step, the rows after that step are replaced by the new ones.
    """
    rows: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines():
        row = _parse_row(line)
        if row is None:
            continue
        while rows and _position(rows[-1]) >= _position(row):
            rows.pop()
        rows.append(row)
    return rows


def _position(row: dict[str, Any]) -> tuple[int, bool]:
    """A step's evaluation comes after the step."""
    return row["step"], row["kind"] != "train"


def _parse_row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and type(row.get("step")) is int and "kind" in row
    return row if whole else None
