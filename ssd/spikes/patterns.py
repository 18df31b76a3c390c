"""The patterns of the epoch that a log shows, beside its spikes.

They are looked for in the order in which one hides another: a running mean first, whose undone
losses the others are tested on; then the groups of batches, the restarts of the learning rate and
the spikes; then, without all of these, the drop at each pass and a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ssd.spikes.candidate import FEWEST_ROWS, best_candidate, row_width
from ssd.spikes.detect import Spikes, aftershock, usable_rows
from ssd.spikes.epoch_drop import Drop, find_epoch_drop
from ssd.spikes.fixed_order import FixedOrder, find_fixed_order
from ssd.spikes.grouped import Groups, find_groups
from ssd.spikes.level import running_medians
from ssd.spikes.log import Bools, Floats, Ints, Log
from ssd.spikes.passes import Passes, passes_of, passes_of_length
from ssd.spikes.restarts import Restarts, find_restarts
from ssd.spikes.running_mean import RunningMean, find_running_mean, undo

AROUND = 15  # rows whose median takes the place of a spike


@dataclass(frozen=True)
class Patterns:
    """The patterns found in a log; None for each that is not.

    Attributes:
        log: the log, its running mean undone and its groups taken out.
        passes: of the rows of that log; None: unknown.
        candidate: the best candidate for spikes, found or not; None: it cannot be judged.
        running_mean, groups, restarts, drop, fixed_order: the other patterns.
    """

    log: Log
    passes: Passes | None
    candidate: Spikes | None
    running_mean: RunningMean | None = None
    groups: Groups | None = None
    restarts: Restarts | None = None
    drop: Drop | None = None
    fixed_order: FixedOrder | None = None


def find_patterns(log: Log, period: int | None) -> Patterns:
    """All patterns of a log; with a period given, spikes of that period alone."""
    passes, usable = passes_of(log), usable_rows(log.loss)
    if usable.sum() < FEWEST_ROWS or 2 * usable.sum() < len(usable):
        return Patterns(log, passes, None)
    if period is not None:
        return Patterns(log, passes, best_candidate(log, period, passes))
    steps, known = log.steps[usable], _at(passes, usable)
    candidate = best_candidate(log, None, passes)
    mean = _running_mean(log, usable, known, candidate)
    if mean is not None:
        log, passes = _undone(log, mean, passes, usable)
        each = np.median(np.diff(steps)) == 1  # otherwise the rows are means over different steps
        return Patterns(log, passes, best_candidate(log, None, passes) if each else None, mean)
    groups = None
    if known is not None:
        widths = (row_width(log),) if log.window else tuple({1, row_width(log)})
        groups = find_groups(np.log(log.loss[usable]), known, widths)
    if groups is not None:
        loss = log.loss.copy()
        loss[usable] /= np.exp(groups.fitted)
        log = replace(log, loss=loss)
    log_loss = np.log(log.loss[usable])
    lr = log.columns.get("lr")
    restarts = find_restarts(steps, log_loss, None if lr is None else lr[usable])
    if groups is not None:
        candidate = best_candidate(log, None, passes)
    shown = log_loss
    if candidate is not None and candidate.found:
        log_loss = _without_rows(log_loss, _shaken(log, candidate)[usable])
    drop = None if restarts else find_epoch_drop(steps, log_loss, known)
    if drop is not None:
        log_loss = _without_drops(steps, log_loss, drop)
    order = None
    if not (log.shuffled or groups or restarts):
        if known is None and log.steps_per_epoch:  # an order repeats wherever a pass begins
            known = passes_of_length(steps, log.steps_per_epoch, int(steps[0]))
        order = find_fixed_order(steps, log_loss, known, shown)
    if drop is not None and order is not None and order.is_patterned:
        order = None  # what the drop leaves
    return Patterns(log, passes, candidate, None, groups, restarts, drop, order)


def _running_mean(
    log: Log, usable: Bools, passes: Passes | None, candidate: Spikes | None
) -> RunningMean | None:
    """The running mean, if the log is one without its spikes, whose moves are large too."""
    if isinstance(log.window, int):
        return None
    log_loss = np.log(log.loss[usable])
    if candidate is not None and candidate.found:
        log_loss = _without_rows(log_loss, np.isin(np.flatnonzero(usable), candidate.rows))
    found = find_running_mean(log.steps[usable], np.exp(log_loss), passes)
    return found and replace(found, raw=undo(log.loss[usable], found.passes))


def _at(passes: Passes | None, rows: Bools) -> Passes | None:
    return passes and Passes(passes.number[rows], passes.place[rows], passes.length)


def _undone(
    log: Log, mean: RunningMean, passes: Passes | None, usable: Bools
) -> tuple[Log, Passes]:
    """The log with the losses of the steps themselves, and its passes."""
    first = int(log.steps[usable][0] - mean.passes.place[0])
    if passes is None:
        passes = passes_of_length(log.steps, mean.passes.length, first)
    loss = np.full(len(log.loss), np.nan)
    loss[usable] = mean.raw
    whole = passes.length == round(passes.length)
    length = round(passes.length) if whole else None
    known = first % length if length else log.first_step
    return replace(log, loss=loss, steps_per_epoch=length, first_step=known), passes


def _without_drops(steps: Ints, log_loss: Floats, drop: Drop) -> Floats:
    """The log loss less the level of each pass; 0 near its start, which may be off or averaged."""
    parts = np.split(log_loss, drop.passes.starts)
    rest = np.concatenate([part - np.median(part) for part in parts])
    starts = steps[drop.passes.starts]
    after = np.searchsorted(starts, steps).clip(max=len(starts) - 1)
    nearest = np.minimum(
        np.abs(starts[after] - steps), np.abs(starts[np.maximum(after - 1, 0)] - steps)
    )
    rest[nearest <= drop.slack + np.median(np.diff(steps))] = 0.0
    return rest


def _shaken(log: Log, spikes: Spikes) -> Bools:
    """The rows [N] of the spikes, and those after them that stay raised."""
    after = np.searchsorted(log.steps[spikes.rows], log.steps, "right") - 1
    since = log.steps - log.steps[spikes.rows][np.maximum(after, 0)]
    return (after >= 0) & (since <= aftershock(log.loss, spikes, log.steps))


def _without_rows(log_loss: Floats, rows: Bools) -> Floats:
    """The log loss with the level around each of some rows in its place."""
    half = AROUND // 2
    level = running_medians(np.pad(log_loss, half, mode="reflect"), AROUND)
    log_loss = log_loss.copy()
    log_loss[rows] = level[rows]
    return log_loss
