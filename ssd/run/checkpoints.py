"""The checkpoints of a run: the newest, the best, and those that are removed."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from ssd.common.errors import UserError
from ssd.run.checkpoint import (
    Checkpoint,
    Manifest,
    check_intact,
    is_intact,
    load_checkpoint,
    read_manifest,
)
from ssd.run.names import CHECKPOINTS, METRICS
from ssd.run.rows import only, read_rows
from ssd.steps import EvaluationRow


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
        if (found := _load_or_tell(path)) is not None:
            return found
    if paths:
        raise UserError(
            f"no checkpoint in {folder} is intact: repair one, or start a new run in another folder"
        )
    return None


def choose(run: Path, which: str) -> Checkpoint:
    """A checkpoint of a run, which its `choice` describes; those passed over are told on stderr.

    Args:
        run: the run folder.
        which: `best`, the one with the highest mean average precision, or the newest if none was
            evaluated; `last`, the newest intact one; or a step.

    Raises:
        UserError: there is no such checkpoint, or it is damaged.
    """
    folder = run / CHECKPOINTS
    paths = list_checkpoints(folder)
    if not paths:
        raise UserError(f"{folder} holds no checkpoint: train the run first")
    if which == "best" and (found := _best_intact(folder)) is not None:
        return replace(found, choice=_praise(found.manifest, run))
    if which in ("best", "last"):
        newest = newest_intact(folder)
        assert newest is not None  # there are checkpoints, so it raises if none is intact
        what = (
            "the newest checkpoint" if newest.path == paths[0] else "the newest intact checkpoint"
        )
        without = ", none is evaluated" if which == "best" else ""
        return replace(newest, choice=f"step {newest.manifest.step}, {what}{without}")
    if which not in {str(step_of(path)) for path in paths}:
        steps = ", ".join(str(step_of(path)) for path in reversed(paths))
        raise UserError(f"--checkpoint is {which}, but has to be best, last or a step: {steps}")
    return replace(load_checkpoint(folder / f"step_{which}"), choice=f"step {which}, as given")


def _best_intact(folder: Path) -> Checkpoint | None:
    """The intact checkpoint with the highest score, if any; a damaged newest one is told too."""
    best, newest = _by_score(folder), list_checkpoints(folder)[0]
    if newest not in best[:1]:
        try:
            check_intact(newest)
        except UserError as error:
            tell_passed_over(error)
            best = [path for path in best if path != newest]
    return next(filter(None, map(_load_or_tell, best)), None)


def _praise(manifest: Manifest, run: Path) -> str:
    """Tells of how many evaluations a checkpoint is the best."""
    score = manifest.mean_average_precision or 0.0
    scores = [row.mAP for row in only(EvaluationRow, read_rows(run / METRICS))]
    count = f"{len(scores)} evaluation{'s' if len(scores) > 1 else ''}"
    is_best = not any(other > score for other in scores)
    what = f"the best of {count}" if scores and is_best else "the best evaluated one that is left"
    return f"step {manifest.step}, {what}, mAP {score:.4f}"


def _load_or_tell(path: Path) -> Checkpoint | None:
    try:
        return load_checkpoint(path)
    except UserError as error:
        tell_passed_over(error)
        return None


def tell_passed_over(error: UserError) -> None:
    """Reports a damaged checkpoint on stderr."""
    print(f"passed over: {error}", file=sys.stderr, flush=True)


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
    return next(iter(_by_score(folder)), None)


def _by_score(folder: Path) -> list[Path]:
    """The checkpoints that were evaluated, the best first; of equal ones, the newest first."""
    scored = []
    for path in list_checkpoints(folder):
        try:
            score = read_manifest(path).mean_average_precision
        except UserError:
            continue
        if score is not None:
            scored.append((score, path))
    return [path for _, path in sorted(scored, key=lambda pair: -pair[0])]
