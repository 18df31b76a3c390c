"""The checkpoints of a run: the newest, the best, and those that are removed."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from ssd.common.errors import UserError
from ssd.run.checkpoint import Checkpoint, is_intact, load_checkpoint, read_manifest


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first, intact or not."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if re.fullmatch(r"step_\d{1,18}", path.name)]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The step in the name of a checkpoint's folder."""
    return int(checkpoint.name.removeprefix("step_"))


def newest_intact(folder: Path) -> Checkpoint | None:
    """The newest intact checkpoint; those passed over are reported on stderr.

    Returns None if the folder holds no checkpoints.

    Raises:
        UserError: the folder holds checkpoints, but none is intact.
    """
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            return load_checkpoint(path)
        except UserError as error:
            print(f"passed over: {error}", file=sys.stderr, flush=True)
    if paths:
        raise UserError(
            f"no checkpoint in {folder} is intact: repair one, or start a new run in another folder"
        )
    return None


def prune(folder: Path, keep: int, known: set[Path]) -> None:
    """Removes checkpoints older than the newest `keep` intact ones, except the best one.

    It also removes the unfinished writes of a killed run, so it must not run during a save.

    Args:
        folder: holds the checkpoints.
        keep: number of intact checkpoints to keep.
        known: checkpoints already found intact, which are not read again; gets the new ones.
    """
    for unfinished in folder.glob(".unfinished_step_*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    best = best_checkpoint(folder)
    intact = 0
    for path in list_checkpoints(folder):
        if intact < keep:
            if path in known or is_intact(path):
                known.add(path)
                intact += 1
        elif path != best:
            shutil.rmtree(path, ignore_errors=True)


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest mean average precision; of equal ones, the newest."""
    scored = []
    for path in list_checkpoints(folder):
        try:
            score = read_manifest(path).mean_average_precision
        except UserError:
            continue
        if score is not None:
            scored.append((score, path))
    return max(scored, key=lambda pair: pair[0])[1] if scored else None
