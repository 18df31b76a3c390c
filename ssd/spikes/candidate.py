"""Picks the best candidate for regular spikes in a log, at the length of a pass or at any."""

from __future__ import annotations

import math

import numpy as np

from ssd.spikes.combs import log_chance_of_hits
from ssd.spikes.covers import best_cover
from ssd.spikes.detect import (
    FEWEST_PASSES,
    Spikes,
    find_spikes,
    grid_of,
    heights,
    heights_at,
    median_height,
    usable_rows,
)
from ssd.spikes.log import Floats, Log
from ssd.spikes.passes import Passes

AMONG_PASSES = 0.05  # largest chance, among the losses at their place, of spikes every few passes
SAME = 0.8  # of the rows
FEWEST_ROWS = 20  # a table of twelve finished runs once gave a spike at p = 0.02


def best_candidate(log: Log, period: int | None, passes: Passes | None = None) -> Spikes | None:
    """The spikes that are least likely to arise by chance; on a tie, those of the pass.

    Args:
        log: the log.
        period: look only for spikes this many steps apart; None: for those of any period.
        passes: the passes of its rows; None: unknown.
    """
    if usable_rows(log.loss).sum() < FEWEST_ROWS:
        return None
    candidates = []
    high = heights(np.log(log.loss)) if usable_rows(log.loss).all() else None
    length = period or log.steps_per_epoch
    if length:  # a log of every 10th step returns to a place in the pass after lcm(10, pass) steps
        length = math.lcm(length, grid_of(log.steps)[0])
        candidates.append(find_spikes(log.steps, log.loss, length, high))
    if period is None:
        anywhere = find_spikes(log.steps, log.loss, None, high)
        if anywhere is not None and not (length and _only_noisier(log, anywhere, length)):
            candidates.append(anywhere)
        candidates += _covering(log, passes, high)
    judged = [candidate for candidate in candidates if candidate is not None]
    best = min(judged, key=lambda c: (not c.found, c.p_value, -c.hits), default=None)
    if best is None or passes is None:
        return best
    of_pass = (c for c in judged if c.found and c.period == round(passes.length))
    return next((c for c in of_pass if _is_same(c, best)), best)


def _is_same(one: Spikes, other: Spikes) -> bool:
    """Returns whether two candidates are the same rows, seen with two periods."""
    both = np.intersect1d(one.rows, other.rows).size
    return both >= SAME * max(len(one.rows), len(other.rows))


def row_width(log: Log) -> int:
    """The steps that a row may be the mean of; 1 where it is certain to be that of its step."""
    if isinstance(log.window, int):
        return log.window
    distances = np.diff(log.steps)
    if log.window is not None or not len(distances):
        return 1
    usual = int(np.median(distances))
    return usual if np.mean(distances == usual) > 0.95 else 1


def _covering(log: Log, passes: Passes | None, high: Floats | None) -> list[Spikes | None]:
    """Candidates where rows are means, or are not every k-th step."""
    length = passes.length if passes else log.steps_per_epoch
    found = []
    uneven = len(np.unique(np.diff(log.steps))) > 1
    every = int(np.median(np.diff(log.steps)))
    if length and (uneven or length % every):
        found.append(_cover(log, 1, length, high))
    if (width := row_width(log)) > 1:
        found.append(_cover(log, width, length, high))
    return found


def _cover(log: Log, width: int, length: float | None, high: Floats | None) -> Spikes | None:
    """The spikes at a step of the pass that rows of so many steps cover."""
    usable = np.flatnonzero(usable_rows(log.loss))
    if 2 * len(usable) < len(log.loss):
        return None
    steps = log.steps[usable]
    high = heights(np.log(log.loss[usable])) if high is None else high
    widths = np.full(len(steps), width)
    cover = best_cover(steps - width + 1, widths, high, length)
    if cover is None:
        return None
    rows, whole = usable[cover.rows], round(cover.length)
    logged = median_height(log.steps, log.loss, rows, whole)
    return Spikes(
        period=whole,
        phase=int(cover.first % whole),
        ratio=1 + (logged - 1) * width,
        rows=rows,
        hits=cover.hits,
        p_value=math.exp(cover.log_p),
        width=cover.last - cover.first + 1,
        slack=0 if length else cover.slack,
        mean_of=width,
    )


def _only_noisier(log: Log, spikes: Spikes, length: int) -> bool:
    """Returns whether spikes every few passes are only the luck of one noisy step of the pass.

    A short step is noisier than the others, whatever its loss is divided by. The highest losses of
    the log gather at its place, and some multiple of the pass always hits many of them. A true
    spike in every n-th pass also stands out among the losses of that place alone: it accounts for
    more of the highest there than chance allows, with all multiples of the pass considered.
    """
    if spikes.period <= length or spikes.period % length:
        return False
    rows = np.flatnonzero((log.steps - spikes.phase) % length == 0)
    high = np.nan_to_num(heights_at(log.steps, log.loss, rows, length))
    highest = rows[np.argsort(-high, kind="stable")[: len(spikes.rows)]]
    hits = np.intersect1d(highest, spikes.rows).size
    chance = log_chance_of_hits(len(rows), np.array(len(spikes.rows)), np.array(hits))
    multiples = np.arange(2, max(3, len(rows) // FEWEST_PASSES + 1))
    return float(chance) + math.log(multiples.sum()) > math.log(AMONG_PASSES)
