"""Sentences about a log without regular spikes, and about what a log cannot show."""

from __future__ import annotations

import math

import numpy as np

from ssd.common.words import counted
from ssd.spikes.candidate import FEWEST_ROWS, row_width
from ssd.spikes.detect import CERTAIN, FEWEST_PASSES, NOTABLE, Spikes, grid_of, usable_rows
from ssd.spikes.evidence import images_text
from ssd.spikes.level import running_medians
from ssd.spikes.log import Log
from ssd.spikes.passes import Passes
from ssd.spikes.short_step import height_at_short, short_rows

SPARSE = 0.6
OUTLIER, OUTLIER_ROWS = 2.0, 15


def count_passes(log: Log, passes: Passes | None) -> float | None:
    """The number of passes over the data that the log covers; None where unknown."""
    if not len(log.steps):
        return 0
    length = passes.length if passes else log.steps_per_epoch
    if length:
        return float(log.steps[-1] - log.steps[0] + grid_of(log.steps)[0]) / length
    epoch = log.columns.get("epoch", np.zeros(0))
    epochs = np.unique(np.floor(epoch[np.isfinite(epoch)]))
    return float(len(epochs)) or None


def too_short(log: Log, period: int | None, passes: float | None) -> str:
    """The reason why the log cannot be judged, as a sentence."""
    rows, usable = len(log.loss), int(usable_rows(log.loss).sum())
    needed = "three passes are needed to tell a regular spike from chance"
    if not rows:
        return "The log has no losses yet: nothing to judge."
    if not usable:
        return f"No loss ({rows} in the log) is a finite number above 0: nothing to judge."
    if 2 * usable < rows:
        losses = counted(rows, "loss")
        return f"Only {usable} of {losses} are finite and above 0: too few to judge."
    if passes is not None and passes < FEWEST_PASSES:
        return f"The log covers {rounded_down(passes)} ({_extent(log)}): {needed}."
    if usable < FEWEST_ROWS:
        return (
            f"The log has too few losses ({usable}) to judge: {FEWEST_ROWS} rows and three passes "
            "are needed to tell a regular spike from chance."
        )
    if share_present(log) < SPARSE:
        share = f"{share_present(log):.0%}"
        return (
            f"The log holds {share} of its steps, too few to judge: log the loss of every step, or "
            "give the steps per epoch (--steps-per-epoch)."
        )
    length = period or log.steps_per_epoch
    what = f"for passes of {counted(length, 'step')}" if length else "to judge"
    return f"The log has too few losses ({usable}) {what}: {needed}."


def rounded_down(passes: float) -> str:
    """The number of passes in words, never more than there are."""
    down = math.floor(10 * passes + 1e-9) / 10
    return "1 pass" if down == 1 else f"{down:g} passes"


def nothing_found(log: Log, candidate: Spikes, passes: float | None, length: float | None) -> str:
    """The extent of a log without regular spikes, as a sentence."""
    extent = _extent(log)
    if passes is not None and length:
        extent += f" ({rounded_down(passes)} of {length:.6g})"
    regular = candidate.p_value < CERTAIN and 1 < candidate.ratio < NOTABLE
    low = f" of {NOTABLE} times or more" if regular else ""
    but = ""
    if regular:
        but = (
            f": the most regular rise, every {candidate.period} steps, is to {candidate.ratio:.3g} "
            "times the losses around it, too little to matter"
        )
    return f"No regular spike{low} in {extent}{but}.{_outliers(log)}{_short_steps(log)}"


def sparse(log: Log) -> str:
    """A caution, if the log lacks many steps."""
    if not lacks_steps(log):
        return ""
    share, width = f"{share_present(log):.0%}", row_width(log)
    means = f", unless its rows are means over {width} steps" if width > 1 else ""
    return (
        f" The log holds only {share} of its steps{means}: spikes between them are not seen, and "
        "the true period may be a part of the one that shows. To settle it, log every step."
    )


def lacks_steps(log: Log) -> bool:
    """Returns whether spikes may stand at steps that the log has no row for, and no mean of."""
    if isinstance(log.window, str):  # a median of some steps hides a single one
        return log.window == "median"
    width = log.window if isinstance(log.window, int) else 1
    return share_present(log) * width <= SPARSE


def share_present(log: Log) -> float:
    """The number of rows / the number of steps from the first row to the last."""
    if len(log.steps) < 2:
        return 1.0
    return len(log.steps) / float(log.steps[-1] - log.steps[0] + 1)


def _extent(log: Log) -> str:
    rows, span = len(log.loss), int(log.steps[-1] - log.steps[0] + grid_of(log.steps)[0])
    steps = counted(span, "step")
    return steps if rows == span else f"{counted(rows, 'row')}, which cover {steps}"


def _outliers(log: Log) -> str:
    """A sentence on the losses that are twice as high as those around them, if any."""
    loss = log.loss[np.isfinite(log.loss)]
    level = running_medians(np.pad(loss, OUTLIER_ROWS // 2, mode="reflect"), OUTLIER_ROWS)
    count = int(np.sum(loss > OUTLIER * level))
    if not count:
        return ""
    they = "1 loss stands" if count == 1 else f"{count} losses stand"
    return f" {they} twice as high as those around."


def _short_steps(log: Log) -> str:
    """A sentence on the loss of the short steps, if there are any."""
    rows = short_rows(log)
    height = height_at_short(log, rows, "loss") if len(rows) else None
    if height is None:
        return ""
    images = log.columns["num_images"]
    count, full = images_text(float(np.median(images[rows]))), float(np.nanmedian(images))
    return (
        f" The short steps, of {count} instead of {full:g}, stand at {height:.3g} times their "
        "surroundings."
    )
