"""Finds the logs of other trainers in a folder, by the names that they give their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.run.names import METRICS

MOST_FILES = 10_000  # that a folder is searched for logs
TRAINER_STATE = "trainer_state.json"
# In a folder, the logs of the first kind that it holds, itself or in its folders, are read.
IN_FOLDERS = (
    TRAINER_STATE,
    "scalars.json",
    "*.log.json",
    "metrics.json",
    "metrics.csv",
    "*tfevents*",
)


def find_files(folder: Path) -> list[Path]:
    """The logs of the first kind that a folder holds, itself or in the folders in it.

    Raises:
        UserError: it holds none, or too many files to look through.
    """
    inside = []
    for number, file in enumerate(folder.rglob("*")):
        if number == MOST_FILES:
            raise UserError(f"{folder}: has more than {MOST_FILES} files; give the log itself")
        inside.append(file)
    for pattern in IN_FOLDERS:
        found = sorted(file for file in inside if file.match(pattern) and file.is_file())
        if found:
            return _longest_histories(found) if pattern == TRAINER_STATE else found
    kinds = ", ".join((METRICS, *IN_FOLDERS))
    raise UserError(f"{folder}: has no {kinds}; give a run folder or a file of losses")


def _longest_histories(files: Sequence[Path]) -> list[Path]:
    """One trainer_state.json of each run: each checkpoint of a run has one with all rows so far."""
    longest: dict[Path, Path] = {}
    for file in files:
        folder = file.parent
        run = folder.parent if folder.name.startswith("checkpoint-") else folder
        if run not in longest or file.stat().st_size > longest[run].stat().st_size:
            longest[run] = file
    return list(longest.values())
