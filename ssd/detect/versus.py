"""Two groups of runs, such as two recipes with three seeds each, and the difference of scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError
from ssd.common.progress import Progress
from ssd.common.text_table import text_table
from ssd.common.words import counted
from ssd.config.settings import read_yaml, to_config
from ssd.detect.evaluate import located, read_data
from ssd.evaluation.bootstrap import (
    MEAN,
    RESAMPLES,
    ByClass,
    Interval,
    differences,
    scores_of,
    tallies_of,
)
from ssd.evaluation.detections import read_detections
from ssd.run.names import CONFIG, DETECTIONS, DIVISION, EVALUATION
from ssd.run.results import StoredEvaluation, read_evaluation
from ssd.structures import DataSet

SAME = 1e-6  # mAP; detections.json keeps all digits


@dataclass(frozen=True)
class Scored:
    """A run's evaluation, and the data that it is on."""

    folder: Path
    stored: StoredEvaluation
    data: DataSet


def versus(first: Sequence[Path], second: Sequence[Path]) -> str:
    """The table of two groups of runs with intervals of 95 %.

    Raises:
        UserError: a run has no evaluation, the runs were not evaluated alike on the same images,
            or their data is not there any more.
    """
    (twice, times), *_ = Counter(folder.resolve() for folder in (*first, *second)).most_common()
    if times > 1:
        raise UserError(f"{twice} is given {times} times: give each run once")
    runs = [scored(folder) for folder in (*first, *second)]
    for run in runs[1:]:
        refuse_unlike(runs[0], run)
    metric = runs[0].stored.metric
    tallies = [judged(run) for run in runs]
    groups = tallies[: len(first)], tallies[len(first) :]
    with Progress("resampling", RESAMPLES, "sample", after=1) as progress:
        found = differences(groups, metric, advance=progress.advance)
    header = ("", counted(len(first), "run"), f"--to {counted(len(second), 'run')}", "difference")
    lines = [(name, *map(percent, found[name][:2]), points(found[name][2])) for name in found]
    mean = found[MEAN][2]
    above = "above" if mean.value >= 0 else "below"
    drawn = "and of the runs"
    if len(runs) == 2:
        drawn = "alone: a run on each side says nothing of another seed"
    sure = "leaves out zero" if mean.is_apart else "includes zero: it may be chance"
    verb = "is" if len(first) == 1 else "are"
    return "\n".join(
        [
            text_table(header, [*lines[1:], lines[0]]),
            "",
            f"{', '.join(map(str, first))} {verb} {abs(100 * mean.value):.1f} points {above} "
            f"{', '.join(map(str, second))}; the interval {sure}",
            f"intervals of 95 %: {RESAMPLES:,} resamples of the "
            f"{counted(len(runs[0].data.records), 'image')} {drawn}",
        ]
    )


def scored(folder: Path) -> Scored:
    """The evaluation in a run folder, or in one that `ssd evaluate` made.

    Raises:
        UserError: there is none, or its data is not there.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give run folders that have been evaluated")
    for name in (EVALUATION, DETECTIONS, CONFIG):
        if not (folder / name).exists():
            raise UserError(
                f"{folder} has no {name}: give a run that has been evaluated (ssd evaluate RUN_DIR)"
            )
    stored = read_evaluation(folder / EVALUATION)
    config = located(to_config(read_yaml(folder / CONFIG)))
    return Scored(folder, stored, read_data(config, list(stored.per_class), folder / DIVISION))


def refuse_unlike(one: Scored, other: Scored) -> None:
    """Raises a UserError if two runs were not evaluated alike."""
    for name in ("metric", "iou_threshold", "mirror"):
        ours, theirs = getattr(one.stored, name), getattr(other.stored, name)
        if ours != theirs:
            raise UserError(
                f"{one.folder} was evaluated with {name} {ours} and {other.folder} with {theirs}: "
                "evaluate them alike"
            )
    pairs = (one.data.image_ids, other.data.image_ids), (one.data.classes, other.data.classes)
    for ours, theirs in pairs:
        if list(ours) != list(theirs):
            raise UserError(
                f"{one.folder} and {other.folder} were evaluated on different images or classes: "
                "evaluate one of them on the data of the other, with --out"
            )


def judged(run: Scored) -> ByClass:
    """The judged detections of a run.

    Raises:
        UserError: they do not have the score that the run has kept.
    """
    names = run.data.image_ids, run.data.classes, run.data.category_ids
    table = read_detections(run.folder / DETECTIONS, *names)
    stored = run.stored
    tallies = tallies_of(run.data, table, stored.metric, stored.iou_threshold)
    again = scores_of(tallies, stored.metric)[0]
    if not np.isclose(again, np.nan if stored.mAP is None else stored.mAP, 0, SAME, equal_nan=True):
        raise UserError(
            f"{run.folder}: its detections have an mAP of {again:.4f}, but it has kept {stored.mAP}"
            f": the data has changed since; run ssd evaluate {run.folder} anew"
        )
    return tallies


def percent(one: Interval) -> str:
    """`62.5 (60.1 … 64.9)`."""
    return f"{100 * one.value:.1f} ({100 * one.low:.1f} … {100 * one.high:.1f})"


def points(one: Interval) -> str:
    """`+1.5 (+0.4 … +2.6) *`; the star marks one whose interval leaves out 0."""
    star = " *" if one.is_apart else ""
    return f"{100 * one.value:+.1f} ({100 * one.low:+.1f} … {100 * one.high:+.1f}){star}"
