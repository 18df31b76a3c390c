"""The running mean that starts anew with each pass: many a logger's, and no harm.

Keras, and many text logs, show at step i of a pass the mean m(i) of its losses so far. The curve
jumps at the start of a pass to the loss of a single batch, and then moves less and less, by about
1 / i. The loss of the step itself is i·m(i) − (i − 1)·m(i − 1). For a curve that is no such mean,
this is far off, and often negative.

Letter: `N` rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ssd.spikes.covers import Cover, best_cover
from ssd.spikes.finding import Finding
from ssd.spikes.level import chance_of_z, correlation, median, medians_of
from ssd.spikes.log import Floats, Ints
from ssd.spikes.passes import Passes, passes_of_length

FEWEST_PASSES, FEWEST_ROWS, FEWEST_PRESENT, FEWEST_TICKS = 3, 20, 0.25, 6
FEWEST_ROWS_OF_PASS = 11  # where the log does not tell the passes
FITS = 6.0  # log of how much likelier moves are that calm down than moves that do not
POSITIVE = 0.97  # of the losses of the steps
WIDE, MOST_WHOLE = 20_000, 2  # rows on either side of the middle; lengths tried on all rows
CERTAIN = 1e-3
MOST_PARTS, MOST_STARTS = 3, 12  # passes within the period found; starts of passes looked at
OUTLIER = 4.0  # times the median move
FLAT = 0.005  # of the log of the loss: a jump too small to be told
CALMS, LATER = 0.7, 0.2  # correlation of the mean move at a step of the pass with what is expected
MOST_ROWS = 15_000  # on each side of the middle, to tell the passes by
NEAR = 3  # steps that the first row of a pass may be late


@dataclass(frozen=True)
class RunningMean:
    """A running mean that starts anew.

    Attributes:
        passes: the passes with which it does.
        raw: [N] the mean loss of the steps since the row before; that of the row's own step where
            each step has a row.
        jump: the change of the log of the loss from the last row of a pass to the end of the first
            tenth of the next, in the median over the passes.
        p_value: the chance of moves that calm down as much in each pass.
        fits: the log of how much likelier moves are that calm down than moves of one size.
        slack: steps by which the length of a pass may be off.
    """

    passes: Passes
    raw: Floats
    jump: float
    p_value: float
    fits: float
    slack: float = 0.0


def find_running_mean(steps: Ints, loss: Floats, passes: Passes | None) -> RunningMean | None:
    """The running mean that losses above 0 are, if they are."""
    if passes is not None:
        return _running_mean(loss, passes, 1)
    stride = np.median(np.diff(steps)) if np.ptp(np.diff(steps)) == 0 else 1
    span = float(steps[-1] - steps[0]) / float(stride) + 1
    if len(steps) < max(FEWEST_ROWS, FEWEST_PRESENT * span):
        return None
    gaps = np.diff(steps)
    cover = best_cover(steps[:-1] + 1, gaps, np.abs(np.diff(np.log(loss))) / np.sqrt(gaps))
    if cover is None:
        return None
    found = [
        _best_near(loss, steps, round(cover.length / part), cover)
        for part in range(1, MOST_PARTS + 1)
    ]
    best = max(filter(None, found), key=lambda one: one.fits, default=None)
    if best is None or best.passes.length < FEWEST_ROWS_OF_PASS * np.median(gaps):
        return None
    rough = math.ceil(np.median(gaps) / max(1, len(cover.rows)))
    return replace(best, slack=max(cover.slack, rough if np.median(gaps) > 1 else 0))


def _best_near(loss: Floats, steps: Ints, length: int, cover: Cover) -> RunningMean | None:
    """The running mean whose passes fit best, near a length and a first step."""
    middle = int(cover.rows[len(cover.rows) // 2])  # a wrong length drifts least from there
    starts = range(int(steps[middle]) + 1 - NEAR, int(steps[middle + 1]) + 1)
    near = slice(max(0, middle - MOST_ROWS), middle + MOST_ROWS)
    starts = starts[:: 1 + len(starts) // MOST_STARTS]
    reach = 1 + (steps[middle + 1] - steps[middle]) // 2
    lengths = [longer for longer in range(length - reach, length + reach + 1) if longer > 1]
    tried = len(lengths) * len(starts)  # the large moves that tell them are not those tested
    found = [
        (_running_mean(loss[near], passes_of_length(steps[near], longer, start), tried), place)
        for place in product(lengths, starts)
        for longer, start in [place]
    ]
    known = sorted((mean.fits, place) for mean, place in found if mean is not None)
    places = list(dict(place for _, place in known).items())  # the best start of each length
    span = max(WIDE, 4 * length * len(steps) // int(steps[-1] - steps[0] + 1))
    if len(steps) > 2 * span:  # all rows are for the few that fit best in the middle
        wide = slice(max(0, middle - span), middle + span)
        near_best = [
            (mean.fits, place)
            for place in places
            if (mean := _running_mean(loss[wide], passes_of_length(steps[wide], *place), tried))
        ]
        places = [place for _, place in sorted(near_best)[-MOST_WHOLE:]]
    whole = [_running_mean(loss, passes_of_length(steps, *place), tried) for place in places]
    return max(filter(None, whole), key=lambda one: one.fits, default=None)


def tell_running_mean(found: RunningMean) -> Finding:
    """The finding in words."""
    height, length = math.exp(found.jump), f"{found.passes.length:.6g}"
    about = f" (± {found.slack:.3g})" if found.slack else ""
    way = "down" if found.jump < 0 else "up"
    stair = f" by {abs(1 - height):.0%} {way}" if abs(found.jump) > FLAT else ""
    return Finding(
        "running_mean",
        "The log holds the mean of the losses since the start of the pass, which starts anew every "
        f"{length}{about} steps: the curve jumps there{stair}, and then calms down. That is the "
        "logger's doing, not the training's.",
        "Nothing is wrong with the training. To see its own curve, log the loss of each step, or "
        "undo the mean: step i of a pass has i·m(i) − (i − 1)·m(i − 1).",
        found.passes.length,
        height,
        found.p_value,
        found.slack,
    )


def _running_mean(loss: Floats, passes: Passes, tried: float) -> RunningMean | None:
    """The running mean with these passes, if it is one; `tried` others were looked at."""
    within = np.diff(passes.number) == 0
    before, after = passes.place[:-1][within] + 1.0, passes.place[1:][within] + 1.0
    gaps = after - before
    if passes.count < FEWEST_PASSES or within.sum() < FEWEST_ROWS or (gaps <= 0).any():
        return None
    moves = np.diff(np.log(loss))[within]
    drift = _median_of_each(moves / gaps, passes.number[1:][within])
    moves = np.abs(moves - drift * gaps)  # a steep fall moves all rows of a pass alike
    expected = np.log(np.sqrt(gaps) / after)  # of the size of a move, but for a constant
    moved = moves > 0
    if moved.mean() < 0.5 or np.ptp(expected) < 1e-9:
        return None
    moves = np.minimum(moves, OUTLIER * median(moves))  # a spike is a large move too
    fits = _fit(moves[moved], np.exp(expected[moved]))
    ticks = (after[moved] / np.median(gaps)).astype(np.int64)
    if fits < FITS + math.log(tried) or _calms(moves[moved], expected[moved], ticks) < CALMS:
        return None
    raw = undo(loss, passes)
    calm = -_rank_correlation(np.log(moves[moved]), expected[moved])
    p_value = min(1.0, tried * chance_of_z(-calm * math.sqrt(moved.sum() - 1)))
    if p_value > CERTAIN or np.mean(raw > 0) < POSITIVE:
        return None
    return RunningMean(passes, raw, _jump(loss, passes), p_value, fits)


def _median_of_each(values: Floats, number: Ints) -> Floats:
    """The median of the values [N] of each pass, at each of its rows."""
    starts = np.flatnonzero(np.diff(number)) + 1
    return np.repeat(
        medians_of(values, starts), np.diff(np.concatenate([[0], starts, [len(values)]]))
    )


def undo(loss: Floats, passes: Passes) -> Floats:
    """The mean loss [N] of the steps since the row before, or since the start of the pass."""
    count = passes.place + 1.0
    fresh = np.append(True, np.diff(passes.number) != 0)
    before, sum_before = np.append(0.0, count[:-1]), np.append(0.0, (count * loss)[:-1])
    before, sum_before = np.where(fresh, 0, before), np.where(fresh, 0, sum_before)
    return np.asarray((count * loss - sum_before) / (count - before))


def _jump(loss: Floats, passes: Passes) -> float:
    """The median change of the log of the loss from the end of a pass to the start of the next."""
    starts = passes.starts
    ends = np.append(starts[1:], len(loss))
    tenth = np.minimum(starts + np.maximum(1, (ends - starts) // 10), len(loss) - 1)
    return float(np.median(np.log(loss[tenth] / loss[starts - 1])))


def _fit(moves: Floats, expected: Floats) -> float:
    """The log likelihood of moves in proportion to the expected, over that of moves of one size.

    Both are taken to be two-sided exponential, which forgives a few large ones.
    """
    count = len(moves)
    alike = -count * math.log(moves.mean())
    calming = -count * math.log(np.mean(moves / expected)) - float(np.sum(np.log(expected)))
    return calming - alike


def _calms(moves: Floats, expected: Floats, ticks: Ints) -> float:
    """The correlation of the logs of the mean move at each tick of a pass and of the expected.

    It is the lower one of all ticks and of those after the first, which may hold the jump itself.
    """
    counts = np.bincount(ticks)
    there = counts > 0
    if there.sum() < FEWEST_TICKS:
        return 0.0
    columns = (moves, np.exp(expected))
    logs = [np.log(np.bincount(ticks, column)[there] / counts[there]) for column in columns]
    of_all, of_later = (correlation(logs[0][first:], logs[1][first:]) for first in (0, 1))
    return min(of_all, of_later + LATER)


def _rank_correlation(a: Floats, b: Floats) -> float:
    ranks = np.empty((2, len(a)))
    for rank, values in zip(ranks, (a, b), strict=True):
        rank[np.argsort(values, kind="stable")] = np.arange(len(a))
    return correlation(*ranks)
