"""Finds regular spikes in a loss: the same place of every pass, over and over.

1. *Heights.* The log of the loss, less its running median, over its local spread: drift, drops of
   the learning rate and noise that changes over the run are gone, and rows can be compared.
2. *Combs.* A spike with period P and phase f fills the rows whose step is f mod P, a comb of K
   rows. Of the log's K highest rows, `hits` are on the comb. All combs of three passes and more
   are tried; since only K rows are looked at, all periods together cost n log n.
3. *Chance.* Were the heights in random order, `hits` would be hypergeometric. That probability,
   times the number of combs tried, is the p-value; it needs no assumption about the noise.

Letters: `N` rows, `K` rows of a comb, `M` pairs of a period and one of the highest rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ssd.diagnose.log import Floats, Ints

SHORTEST_PERIOD = 4
FEWEST_PASSES = 3
CERTAIN = 0.02  # three passes of eight steps give no less than 1 / C(24, 3) for each of 30 combs
NOTABLE = 1.25
TREND_ROWS, SPREAD_ROWS, AROUND_ROWS = 15, 101, 15
CHUNK = 2**20


@dataclass(frozen=True)
class Spikes:
    """The best candidate for a regular spike in a log.

    Attributes:
        period: optimizer steps from one spike to the next.
        phase: the step mod `period` at which they stand.
        ratio: median over the spikes of loss / median of the losses before it.
        rows: [K] rows of the log that stand at that phase.
        hits: how many of them are among the log's K highest, each relative to its surroundings.
        p_value: the chance of as good a comb, had the losses come in random order.
    """

    period: int
    phase: int
    ratio: float
    rows: Ints
    hits: int
    p_value: float

    @property
    def found(self) -> bool:
        """Whether the spikes are too regular for chance, and high enough to matter."""
        return self.p_value < CERTAIN and self.ratio >= NOTABLE


def find_spikes(steps: Ints, loss: Floats, period: int | None = None) -> Spikes | None:
    """The comb of spikes that chance explains least.

    Args:
        steps: [N] optimizer steps, rising; rows may be missing.
        loss: [N]; rows that are not finite and positive are left out.
        period: try this period only, in steps; None: every one with three passes in the log.

    Returns:
        The candidate, to be believed if it is `found`; None where the log is too short to judge.
    """
    usable = np.flatnonzero(np.isfinite(loss) & (loss > 0))
    if len(usable) < FEWEST_PASSES * SHORTEST_PERIOD or 2 * len(usable) < len(loss):
        return None
    ticks = steps[usable] - steps[usable[0]]
    stride = int(np.gcd.reduce(ticks))
    ticks //= stride
    periods = np.arange(SHORTEST_PERIOD, (int(ticks[-1]) + 1) // FEWEST_PASSES + 1)
    if period is not None:
        periods = periods[periods * stride == period]
    if not len(periods):
        return None
    highest_first = np.argsort(-_heights(np.log(loss[usable])), kind="stable")
    best, phase = _best_comb(ticks, highest_first, periods)
    comb = np.flatnonzero(ticks % best == phase)
    hits = len(np.intersect1d(comb, highest_first[: len(comb)]))
    chance = math.exp(float(_log_chance(len(ticks), np.array(len(comb)), np.array(hits))))
    rows = usable[comb]
    return Spikes(
        period=best * stride,
        phase=int(steps[rows[0]] % (best * stride)),
        ratio=_ratio(steps, loss, rows, best * stride),
        rows=rows,
        hits=hits,
        p_value=min(1.0, chance * float(periods.sum())),
    )


def aftershock(values: Floats, spikes: Spikes) -> int:
    """How many steps after a spike the values [N] of a column stay raised."""
    del values, spikes
    return 0


def _heights(values_N: Floats) -> Floats:
    """How far each value stands above its surroundings, in units of their spread."""
    above_N = values_N - _running_median(values_N, TREND_ROWS)
    spread_N = _running_median(np.abs(above_N), SPREAD_ROWS)
    floor = max(0.3 * float(np.median(np.abs(above_N))), 1e-9)
    return above_N / np.maximum(spread_N, floor)


def _running_median(values_N: Floats, window: int) -> Floats:
    """The median of the `window` values around each one; the ends are mirrored."""
    half = min(window, len(values_N) - 1) // 2
    windows = sliding_window_view(np.pad(values_N, half, mode="reflect"), 2 * half + 1)
    rows = max(1, CHUNK // windows.shape[1])
    chunks = range(0, len(windows), rows)
    return np.concatenate([np.median(windows[i : i + rows], axis=1) for i in chunks])


def _best_comb(ticks_N: Ints, highest_first_N: Ints, periods: Ints) -> tuple[int, int]:
    """The period and phase, in ticks, whose hits are the least likely."""
    span = int(ticks_N[-1]) + 1
    best = (math.inf, SHORTEST_PERIOD, 0)
    for extra in (0, 1):  # the first (span mod P) phases of a period have one row more
        sizes = span // periods + extra
        for part in _parts(sizes):
            best = min(best, _best_of(ticks_N, highest_first_N, periods[part], sizes[part], extra))
    return best[1], best[2]


def _parts(sizes: Ints) -> list[slice]:
    ends = np.cumsum(sizes)
    cuts = np.searchsorted(ends, np.arange(CHUNK, ends[-1] + CHUNK, CHUNK))
    edges = [0, *(int(cut) for cut in np.unique(np.append(cuts, len(sizes))) if cut)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def _best_of(
    ticks_N: Ints, highest_first_N: Ints, periods: Ints, sizes: Ints, extra: int
) -> tuple[float, int, int]:
    span = int(ticks_N[-1]) + 1
    sizes = np.minimum(sizes, len(ticks_N))
    which_M = np.repeat(np.arange(len(periods)), sizes)
    rank_M = np.arange(len(which_M)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    phases_M = ticks_N[highest_first_N[rank_M]] % periods[which_M]
    combs, hits = np.unique(which_M * span + phases_M, return_counts=True)
    which, phases = np.divmod(combs, span)
    valid = (phases < span % periods[which]) == bool(extra)
    if not valid.any():
        return (math.inf, SHORTEST_PERIOD, 0)
    which, phases, hits = which[valid], phases[valid], hits[valid]
    chance = _log_chance(len(ticks_N), sizes[which], hits)
    first = int(np.argmin(chance))
    return float(chance[first]), int(periods[which[first]]), int(phases[first])


def _log_chance(n: int, size: Ints, hits: Ints) -> npt.NDArray[np.float64]:
    """log P(X >= hits) for X hypergeometric: `size` of n rows are drawn, `size` are on the comb."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])

    def log_choose(a: Ints, b: Ints) -> Floats:
        return log_factorial[a] - log_factorial[b] - log_factorial[a - b]

    first = (
        log_choose(size, hits)
        + log_choose(n - size, np.minimum(size - hits, n - size))
        - log_choose(np.full_like(size, n), size)
    )
    step = (size - hits) ** 2 / ((hits + 1.0) * np.maximum(n - 2 * size + hits + 1, 1))
    return np.where(step < 1, first - np.log1p(-np.minimum(step, 0.999)), 0.0)


def _ratio(steps: Ints, loss: Floats, rows: Ints, period: int) -> float:
    """The median over the spikes of loss / median of the losses before it."""
    ratios = []
    for row in rows:
        near = slice(max(0, row - AROUND_ROWS), row)
        before = loss[near][steps[near] > steps[row] - period]
        before = before[np.isfinite(before)]
        if len(before):
            ratios.append(loss[row] / np.median(before))
    return float(np.median(ratios)) if ratios else 1.0
