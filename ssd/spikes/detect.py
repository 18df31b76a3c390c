"""Finds regular spikes in a loss: rows that stand high at the same place of every pass.

1. *Heights.* The rise of the log of a loss above the rows before it is divided by its local
   spread. This removes drift, drops of the learning rate and noise that changes over the run, so
   rows from the whole run can be compared.
2. *Combs* (`ssd.spikes.combs`). A spike with period P and phase f fills the rows whose step is
   f mod P. All periods of which the log has three passes are tried, and the comb whose share of
   the highest rows chance explains least is taken.
3. *Height.* A regular spike need not matter, so the ratio of the spikes to the losses before them
   is measured.

Letters: `N` rows, `K` spikes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssd.spikes.combs import Comb, best_comb
from ssd.spikes.level import median, running_medians
from ssd.spikes.log import Bools, Floats, Ints

SHORTEST_PERIOD = 4
FEWEST_PASSES = 3
FEWEST_PRESENT = 0.25  # of the steps from the first to the last row
ON_GRID = 0.9  # of the rows
CERTAIN, PER_ROW = 0.03, 0.25  # see Spikes.found
NOTABLE, IN_MEAN = 1.25, 1.05
BEFORE_ROWS, SPREAD_ROWS, LEVEL_ROWS = 7, 101, 15
MOST_ROWS = 5000


@dataclass(frozen=True)
class Spikes:
    """The best candidate for a regular spike in a log.

    Attributes:
        period: optimizer steps from one spike to the next.
        phase: the step mod `period` at which they stand.
        ratio: median over the spikes of loss / median of the losses before it; that of the step
            itself, if the rows are means.
        rows: [K] rows of the log that stand at that phase.
        hits: how many of them are among the log's K highest, each relative to its surroundings.
        p_value: an upper bound of the chance of a comb as good if the losses came in random order.
        width: how many steps may be the one that spikes, from `phase` on.
        slack: by how many steps the period may be off.
        mean_of: the number of steps whose mean each row is.
    """

    period: int
    phase: int
    ratio: float
    rows: Ints
    hits: int
    p_value: float
    width: int = 1
    slack: int = 0
    mean_of: int = 1

    @property
    def found(self) -> bool:
        """True if the spikes are too regular for chance, and high enough to matter.

        Three spikes in a row suffice, but fewer do not: the best that three passes of P rows can
        reach is p = 0.019 for P = 8, and about 0.14 / P for long ones.
        """
        rows_per_pass = (self.rows[-1] - self.rows[0]) / max(1, len(self.rows) - 1)
        certain = self.p_value < min(CERTAIN, PER_ROW / max(1.0, rows_per_pass))
        logged = 1 + (self.ratio - 1) / self.mean_of
        return bool(certain) and self.ratio >= NOTABLE and logged >= IN_MEAN


def find_spikes(
    steps: Ints, loss: Floats, period: int | None = None, high_N: Floats | None = None
) -> Spikes | None:
    """The comb of spikes that chance explains least.

    Args:
        steps: [N] optimizer steps, rising; rows may be missing.
        loss: [N]; rows that are not finite and positive are left out.
        period: try this period only, in steps; None: every one with three passes in the log.
        high_N: the `heights` of the log's rows, if they are known.

    Returns:
        The candidate, to be believed only if it is `found`; None where the log cannot be judged:
        fewer than three passes, most rows not finite and positive, or three steps in four missing.
    """
    stride, on_grid = grid_of(steps)
    usable = np.flatnonzero(usable_rows(loss) & on_grid)
    if len(usable) < FEWEST_PASSES * SHORTEST_PERIOD or 2 * len(usable) < len(loss):
        return None
    ticks = (steps[usable] - steps[usable[0]]) // stride
    span = int(ticks[-1]) + 1
    if len(usable) < FEWEST_PRESENT * span:
        return None
    periods = np.arange(SHORTEST_PERIOD, span // FEWEST_PASSES + 1)
    if period is not None:
        periods = periods[periods * stride == period]
    if not len(periods):
        return None
    if high_N is None or len(usable) < len(high_N):
        high_N = heights(np.log(loss[usable]))
    highest_first = np.argsort(-high_N, kind="stable")
    comb = best_comb(ticks[highest_first], periods)
    teeth, highest = _teeth(ticks, highest_first, comb)
    rows, whole = usable[teeth], comb.period * stride
    return Spikes(
        period=whole,
        phase=int(steps[rows[0]] % whole),
        ratio=median_height(steps, loss, rows, whole),
        rows=rows,
        hits=int(np.isin(teeth, highest).sum()),
        p_value=math.exp(comb.log_p),
    )


def usable_rows(loss: Floats) -> Bools:
    """The mask [N] of the rows that can be judged: those with a finite loss above 0."""
    usable: Bools = np.isfinite(loss) & (loss > 0)
    return usable


def grid_of(steps: Ints) -> tuple[int, Bools]:
    """The stride of a log's rows (10 if it has every tenth step) and the mask [N] of rows on it.

    Many programs also log the very first or last step. Where more than one row in ten is off the
    most common stride, the stride is the greatest that all rows keep.
    """
    if len(steps) < 2:
        return 1, np.ones(len(steps), np.bool_)
    distances, counts = np.unique(np.diff(steps), return_counts=True)
    stride = int(distances[counts.argmax()])
    rests, counts = np.unique(steps % stride, return_counts=True)
    on_grid = steps % stride == rests[counts.argmax()]
    if on_grid.mean() < ON_GRID:
        return int(np.gcd.reduce(distances)), np.ones(len(steps), np.bool_)
    return stride, on_grid


def heights_at(steps: Ints, values: Floats, rows: Ints, period: int) -> Floats:
    """Value / median of the values before it [K] at the rows of spikes; NaN where unknown.

    Args:
        steps: [N] the steps of the rows of the log.
        values: [N] a column of the log; values that are not finite and positive are left out.
        rows: [K] the rows that spike, or rows to compare with those.
        period: steps from one of them to the next; the values before are from its last half.
    """
    values = np.where(usable_rows(values), values, np.nan)
    with np.errstate(over="ignore"):
        return np.asarray(values[rows] / _before(steps, values, rows, period))


def median_height(steps: Ints, values: Floats, rows: Ints, period: int) -> float:
    """The median of `heights_at` over the rows; of many rows, over some evenly among them."""
    some = rows[:: 1 + len(rows) // MOST_ROWS]
    return median_of(heights_at(steps, values, some, period))


def aftershock(values: Floats, spikes: Spikes, steps: Ints) -> int:
    """The number of steps for which the values of a column stay raised after a spike.

    A step is raised if value / median of the values before the spike, in the median over the
    spikes, is above 1.05 and exceeds 1 by more than three standard errors of such a median. The
    count ends at the first step that is not raised, and before the next spike.

    Args:
        values: [N], a column of the log: loss, gradient norm, momentum norm; may hold NaN.
        spikes: from `find_spikes` on the same log.
        steps: [N] the steps of the rows; rows may be missing.
    """
    stride, _ = grid_of(steps)
    before_K = _before(steps, values, spikes.rows, spikes.period)
    known = np.isfinite(before_K) & (before_K > 0)
    rows_K, before_K = spikes.rows[known], before_K[known]
    noise = _noise(steps, values, rows_K, before_K, spikes.period)
    last = 0
    for after in range(stride, spikes.period, stride):
        row_K = np.minimum(np.searchsorted(steps, steps[rows_K] + after), len(steps) - 1)
        there_K = (steps[row_K] == steps[rows_K] + after) & np.isfinite(values[row_K])
        error = noise * math.sqrt(math.pi / 2 / max(there_K.sum(), 1))  # of a median
        level = median_of(values[row_K[there_K]] / before_K[there_K])
        if not level > 1 + max(0.05, 3 * error):
            break
        last = after
    return last


def heights(values_N: Floats) -> Floats:
    """The height of each value above those before it, in units of the spread around it.

    The height is taken above the median of the seven values before, but is at most the rise over
    the last one, so that of values that stay raised only the first is high. A value that follows a
    high one is merely not high.
    """
    start = 2 * np.median(values_N[:5]) - values_N[BEFORE_ROWS:0:-1]  # a loss falls fast at first
    padded = np.concatenate([start, values_N])
    rise_N = values_N - padded[BEFORE_ROWS - 1 : -1]
    above_N = values_N - running_medians(padded[:-1], BEFORE_ROWS)
    above_N = np.minimum(above_N, np.maximum(rise_N, 0))
    spread_N = np.abs(above_N - np.median(above_N))
    half = min(SPREAD_ROWS, len(values_N) - 1) // 2
    local_N = running_medians(np.pad(spread_N, half, mode="reflect"), 2 * half + 1)
    heights_N: Floats = above_N / np.maximum(local_N, max(0.3 * np.median(spread_N), 1e-9))
    return heights_N


def _teeth(ticks_N: Ints, highest_first_N: Ints, comb: Comb) -> tuple[Ints, Ints]:
    """The rows [K] of the comb and the K highest rows; the comb moves by a tick if that hits more.

    After-shocks can stand out more evenly than spikes that differ in height or come a step early.
    """
    asides = [
        np.flatnonzero((ticks_N - comb.phase - aside) % comb.period == 0) for aside in (0, -1, 1)
    ]
    hits = [np.isin(rows, highest_first_N[: len(rows)]).sum() for rows in asides]
    teeth = asides[int(np.argmax(hits))]
    return teeth, highest_first_N[: len(teeth)]


def _windows(steps: Ints, values: Floats, rows: Ints, period: int) -> Floats:
    """The finite values [K, 15] before each spike, in the half pass that after-shocks do not reach.

    NaN takes the place of all others.
    """
    first = np.searchsorted(steps, steps[rows] - max(period // 2, 2))
    at = rows[:, None] - np.arange(LEVEL_ROWS, 0, -1)
    near = values[np.maximum(at, 0)]
    return np.where((at >= first[:, None]) & np.isfinite(near), near, np.nan)


def _before(steps: Ints, values: Floats, rows: Ints, period: int) -> Floats:
    """The median [K] of the values before each spike; NaN where there is none."""
    ranked = np.sort(_windows(steps, values, rows, period), axis=1)  # NaN last
    counts = np.isfinite(ranked).sum(axis=1)
    spike = np.arange(len(rows))
    low, high = ranked[spike, np.maximum(counts - 1, 0) // 2], ranked[spike, counts // 2]
    return np.asarray((low + high) / 2)


def _noise(steps: Ints, values: Floats, rows: Ints, before_K: Floats, period: int) -> float:
    """The relative standard deviation of the values before spikes, from their median deviation."""
    windows = _windows(steps, values, rows, period)
    return 1.4826 * median_of(np.abs(windows / before_K[:, None] - 1).ravel())


def median_of(values: Floats) -> float:
    """The median of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return median(finite) if len(finite) else math.nan
