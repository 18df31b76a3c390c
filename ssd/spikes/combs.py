"""Finds the comb (every P-th tick of a log) whose share of the highest rows chance explains least.

Only the order of the rows by height is used. A comb is tested in two ways: by its *hits*, the teeth
among the K highest rows of the log (strong in short logs; only K rows are looked at, so all
periods together cost n log n), and by the *sum of its scores*, where a row's score is the normal
quantile of its rank (strong for low spikes in many passes).

If the rows came in random order, the hits would be hypergeometric and the sums normal, whatever
the noise. `Comb.log_p` is the log of that chance times the number of combs tried (Bonferroni's
bound; `HITS_SHARE` of it is spent on the hits).

Letters: `N` rows, `T` ticks, `R` rows from the highest to the lowest, `P` periods, `M` pairs of a
period and one of the highest rows, `F` phases of a period.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ssd.spikes.log import Floats, Ints

HITS_SHARE = 0.8
LEAST_HITS = 1 / 3  # share of the teeth; with fewer, the spike does not come in every pass
LEAST_SCORE = 0.7  # mean over the teeth, likewise
IDLE = 1.5  # most standard deviations above chance that idle teeth may have
ROUNDING = 1e-6  # of a sum of scores, and far more than that
ODD_PART = 0.1  # largest chance of a part that stands out among the teeth
TAIL, MIDDLE = 2_000, 20_000  # ranks whose normal quantiles are exact
CHUNK = 2**15  # pairs looked at together: so few stay in the cache
FOLDED, MOST_FOLDED = 10**8, 5 * 10**8  # most scores to sum up, in a fraction of a second


class Comb(NamedTuple):
    """The ticks t with t mod period = phase, and the log of the chance of one as good."""

    log_p: float
    period: int
    phase: int


def best_comb(ticks_R: Ints, periods_P: Ints) -> Comb:
    """The comb that chance explains least.

    Args:
        ticks_R: the tick of each row, from 0, the highest row first; some ticks may have no row.
        periods_P: the periods to try.

    Returns:
        The comb; an arbitrary one with `log_p` 0 where none has more hits than chance gives.
    """
    scores_T = np.zeros(int(ticks_R.max()) + 1)
    scores_T[ticks_R] = normal_scores(len(ticks_R))
    by_hits = _best_by_hits(ticks_R, periods_P)
    coarser = periods_P[(periods_P % by_hits.period == 0) & (by_hits.log_p < 0)]
    coarser = coarser[: MOST_FOLDED // len(scores_T)]
    affordable = periods_P[periods_P * len(scores_T) <= FOLDED]
    best = _best_by_scores(scores_T, np.union1d(affordable, coarser), by_hits)
    best = _without_idle_teeth(scores_T, best, periods_P)
    tried = math.log(float(periods_P.sum()))
    return best._replace(log_p=min(0.0, best.log_p + tried))


def log_chance_of_hits(n: int, teeth: Ints, hits: Ints) -> Floats:
    """A close upper bound of log P(X >= hits), X hypergeometric: `teeth` of n are drawn at random.

    The bound is the first term of the tail times a geometric series, whose ratio is that of the
    second term to the first. Where the terms do not fall, the hits are no more than chance gives,
    and the bound is 0.
    """
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])

    def log_choose(a: Ints | int, b: Ints) -> Floats:
        chosen: Floats = log_factorial[a] - log_factorial[b] - log_factorial[a - b]
        return chosen

    missed = teeth - hits
    falls = missed**2 / ((hits + 1.0) * np.maximum(n - 2 * teeth + hits + 1, 1))
    possible = (falls < 1) & (missed <= n - teeth)
    first = (
        log_choose(teeth, hits)
        + log_choose(n - teeth, np.minimum(missed, n - teeth))
        - log_choose(n, teeth)
    )
    return np.where(possible, np.minimum(first - np.log1p(-np.where(possible, falls, 0)), 0), 0.0)


def _best_by_hits(ticks_R: Ints, periods_P: Ints) -> Comb:
    span = int(ticks_R.max()) + 1
    most_P = np.minimum(span // periods_P + 1, len(ticks_R))
    cuts = np.flatnonzero(np.diff(np.cumsum(most_P) // CHUNK)) + 1
    parts = zip(np.split(periods_P, cuts), np.split(most_P, cuts), strict=True)
    found = zip(*(_hits_of_chunk(ticks_R, span, *part) for part in parts), strict=True)
    period, phase, teeth, hits = map(np.concatenate, found)
    best = Comb(0.0, int(periods_P[0]), 0)
    if not len(period):
        return best
    log_p = log_chance_of_hits(len(ticks_R), teeth, hits) - math.log(HITS_SHARE)
    least = int(np.argmin(log_p))
    return min(best, Comb(float(log_p[least]), int(period[least]), int(phase[least])))


def _hits_of_chunk(
    ticks_R: Ints, span: int, periods_P: Ints, most_P: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """The combs of some periods that have many hits: their periods, phases, teeth and hits.

    The first (span mod P) phases of a period have one tooth more than the others, so that one of
    the highest rows more counts for them. `most_P` are those teeth.
    """
    ends_P = np.cumsum(most_P)
    rank_M = np.arange(ends_P[-1]) - np.repeat(ends_P - most_P, most_P)
    phase_M = ticks_R[rank_M] % np.repeat(periods_P, most_P)
    first_M = np.repeat(span * np.arange(len(periods_P)), most_P)
    combs, hits = np.unique(first_M + phase_M, return_counts=True)
    which = combs // span
    many = hits > LEAST_HITS * (most_P[which] - 1)
    which, phase, hits = which[many], combs[many] % span, hits[many]
    period = periods_P[which]
    teeth = np.minimum(span // period + (phase < span % period), len(ticks_R))
    hits -= (teeth < most_P[which]) & (phase == phase_M[ends_P[which] - 1])
    right = hits > LEAST_HITS * teeth
    return period[right], phase[right], teeth[right], hits[right]


@lru_cache(maxsize=4)
def normal_scores(n: int) -> Floats:
    """The normal quantiles of n ranks, from the highest to the lowest.

    Of many, those between are interpolated, with an error below 1e-5.
    """
    half = (n + 1) // 2
    exact = np.arange(half)
    if half > TAIL + MIDDLE:
        between = np.linspace(TAIL, half - 1, MIDDLE).astype(np.int64)
        exact = np.union1d(exact[:TAIL], between)
    quantile = NormalDist().inv_cdf
    of_exact = [quantile(1 - (rank + 0.5) / n) for rank in exact.tolist()]
    upper = np.interp(np.arange(half), exact, of_exact)
    return np.concatenate([upper, -upper[: n // 2][::-1]])


def _best_by_scores(scores_T: Floats, periods_P: Ints, best: Comb) -> Comb:
    for period in periods_P:
        z_F = _fold(scores_T, int(period))
        phase = int(np.argmax(z_F))
        best = min(best, Comb(_log_chance_of_z(float(z_F[phase])), int(period), phase))
    return best


def _fold(scores_T: Floats, period: int) -> Floats:
    """The sum [F] of each comb's scores over its standard deviation; 0 where the mean is low."""
    passes, rest = divmod(len(scores_T), period)
    sums_F = scores_T[: passes * period].reshape(passes, period).sum(axis=0)
    sums_F[:rest] += scores_T[passes * period :]
    teeth_F = passes + (np.arange(period) < rest)
    return np.where(sums_F > LEAST_SCORE * teeth_F, sums_F / np.sqrt(teeth_F), 0.0)


def _log_chance_of_z(z: float) -> float:
    """Mills' upper bound of log P(Z > z), Z standard normal, weighted by its share of the tests."""
    if z < 1:
        return math.inf
    return -(z**2) / 2 - math.log(z * math.sqrt(2 * math.pi)) - math.log(1 - HITS_SHARE)


def _without_idle_teeth(scores_T: Floats, comb: Comb, periods_P: Ints) -> Comb:
    """The part of a comb that holds the spikes: half the true period gathers all of them too.

    The part has to stand out among the teeth themselves. All teeth may merely be noisier than other
    ticks, as those of a correctly divided short step are, and some part of them is then always
    high.
    """
    teeth = scores_T[comb.phase :: comb.period]
    z = teeth.sum() / math.sqrt(len(teeth))
    coarser = periods_P[(periods_P > comb.period) & (periods_P % comb.period == 0)]
    factors = coarser // comb.period
    for factor in factors[_highest_z(teeth, factors) > z - ROUNDING * abs(z)].tolist():
        z_F = _fold(teeth, factor)
        first = int(np.argmax(z_F))
        if z_F[first] <= z:
            continue
        part = np.arange(len(teeth)) % factor == first
        idle = teeth[~part]
        if idle.sum() < IDLE * math.sqrt(len(idle)):
            hits = np.sum(part[np.argsort(-teeth)[: part.sum()]])
            chance = float(log_chance_of_hits(len(teeth), part.sum(), hits))
            if chance + math.log(factors.sum()) < math.log(ODD_PART):
                found = Comb(comb.log_p, factor * comb.period, comb.phase + first * comb.period)
                return _without_idle_teeth(scores_T, found, periods_P)
    return comb


def _highest_z(teeth: Floats, factors: Ints) -> Floats:
    """A bound of `_fold(teeth, factor)` for each factor: that of as many of the highest teeth."""
    sums = np.cumsum(np.sort(teeth)[::-1])
    few = np.maximum(len(teeth) // factors, 1)
    more = np.minimum(few + 1, len(teeth))
    z = np.maximum(sums[few - 1] / np.sqrt(few), sums[more - 1] / np.sqrt(more))
    return np.asarray(np.maximum(z, 0))
