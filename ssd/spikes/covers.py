"""Finds the step of a pass that high rows cover, where a row stands for a stretch of steps.

A mean over k steps is high if it covers the step that spikes; so is the change from one row to the
next if it covers the step at which a pass begins. k need not divide the pass, so such rows do not
stand on a comb. For each length of a pass and each step of it, the rows that cover it are its
teeth, and they are tested as those of `ssd.spikes.combs` are.

Letters: `N` rows, `T` ticks, `L` steps of a pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssd.spikes.combs import HITS_SHARE, LEAST_SCORE, log_chance_of_hits, normal_scores
from ssd.spikes.log import Bools, Floats, Ints

SHORTEST, FEWEST_PASSES = 4, 3  # ticks of a pass, passes
MOST_LAGS, FEW_LAGS, MANY = 12, 2, 10**5  # the few where there are as many rows
AFFORDABLE, STRONG = 10**7, 20_000  # lengths times rows to look at; highest rows
MOST_WHOLE = 6  # lengths that all rows of a long log are looked at for
SPARSE = 8  # steps of a pass for each row
AS_GOOD = 1.0  # in z: lengths of a pass that cannot be told from the best


@dataclass(frozen=True)
class Cover:
    """The step of a pass that the high rows cover.

    Attributes:
        length: steps of a pass.
        lengths: the shortest and the longest length that fit about as well.
        first: the first step of the log's count at which it may stand, and so every `length` steps.
        last: the last such step.
        rows: the rows that cover it.
        hits: how many of them are among as many highest.
        log_p: the log of the chance of a cover as good, with all that were tried.
    """

    length: float
    lengths: tuple[float, float]
    first: int
    last: int
    rows: Ints
    hits: int
    log_p: float

    @property
    def slack(self) -> int:
        """The steps by which the length may be off."""
        fits = max(self.lengths[1] - self.length, self.length - self.lengths[0])
        return math.ceil(fits + (self.last - self.first) / len(self.rows))


def best_cover(
    begins: Ints,
    widths: Ints,
    values: Floats,
    length: float | None = None,
    are_scores: bool = False,
) -> Cover | None:
    """The step of a pass whose rows chance explains least.

    Args:
        begins: [N] the first step that each row covers, rising.
        widths: [N] the number of steps that it covers.
        values: [N] the higher, the more likely does it cover the step.
        length: steps of a pass; None: try those for which the values repeat.
        are_scores: whether the values are standard normal where the step has no effect; otherwise
            their ranks are used, whatever they are.
    """
    scores = values.copy()
    order = np.argsort(-values, kind="stable")
    if not are_scores:
        scores[order] = normal_scores(len(values))
    tick = int(np.median(widths))
    span = int(begins[-1] - begins[0]) + 1
    if length is not None and length * FEWEST_PASSES > span + 2 * tick:
        return None
    lengths = [length] if length is not None else _lengths(begins, scores, tick, span)
    tried = length if length is not None else (span / FEWEST_PASSES) ** 2 / 2
    if not lengths:
        return None
    if len(lengths) * len(scores) > AFFORDABLE:
        strong = np.sort(order[:STRONG])
        lengths = _promising(begins[strong], widths[strong], scores[strong], lengths)
    z_of = [_stand_out(begins, widths, scores, p) for p in lengths]
    best = int(np.argmax([z for z, _ in z_of]))
    alike = [p for p, (z, _) in zip(lengths, z_of, strict=True) if z > z_of[best][0] - AS_GOOD]
    alike = [p for p in alike if abs(p - lengths[best]) <= tick]
    (z, place), length = z_of[best], lengths[best]
    rows = np.flatnonzero(_covers(begins, widths, length, place))
    if len(rows) < FEWEST_PASSES:
        return None
    hits = int(np.isin(rows, order[: len(rows)]).sum())
    by_hits = float(log_chance_of_hits(len(values), np.array(len(rows)), np.array(hits)))
    log_p = min(by_hits - math.log(HITS_SHARE), _log_chance(z)) + math.log(tried)
    low, high = _same_rows(begins, widths, length, place, rows)
    start = int(begins[0] // length * length)
    return Cover(
        length,
        (min(alike), max(alike)),
        start + low,
        start + high,
        rows,
        hits,
        min(0.0, log_p),
    )


def _lengths(begins: Ints, scores: Floats, tick: int, span: int) -> list[float]:
    """The lengths of a pass, in steps, near those at which high scores repeat."""
    lags = _repeating(scores, (begins - begins[0]) // tick)
    lags = lags[: MOST_LAGS if len(scores) < MANY else FEW_LAGS]
    near = {p for lag in lags.tolist() for p in range(tick * (lag - 1), tick * (lag + 1) + 1)}
    return [float(p) for p in sorted(near) if SHORTEST * tick <= p <= span / FEWEST_PASSES]


def _promising(begins: Ints, widths: Ints, scores: Floats, lengths: list[float]) -> list[float]:
    """The lengths, rising, for which some step stands out most among these rows."""
    rough = [_stand_out(begins, widths, scores, length)[0] for length in lengths]
    best_first = np.argsort(-np.array(rough), kind="stable")
    return sorted(lengths[i] for i in best_first[:MOST_WHOLE])


def _repeating(scores: Floats, ticks: Ints) -> Ints:
    """The lags in ticks at which high scores repeat most, the strongest first."""
    span = int(ticks[-1]) + 1
    raised = np.bincount(ticks, np.maximum(scores, 0) ** 2, minlength=span)
    raised -= raised.mean()
    size = 2 ** math.ceil(math.log2(2 * span))
    spectrum = np.fft.rfft(raised, size)
    repeats = np.fft.irfft(spectrum * spectrum.conj(), size)[: span // FEWEST_PASSES + 2]
    repeats = np.convolve(repeats, np.ones(3), "same") / np.sqrt(span - np.arange(len(repeats)))
    repeats[: SHORTEST - 1] = -math.inf
    return np.argsort(-repeats, kind="stable")[:MOST_LAGS]


def _stand_out(begins: Ints, widths: Ints, scores: Floats, length: float) -> tuple[float, int]:
    """The highest sum of the scores over its standard deviation, and its step in the pass."""
    size = math.ceil(length)
    first = _steps_of_pass(begins, length)
    end = first + np.minimum(widths, size)
    steps: Ints | range = range(size)
    if size > SPARSE * len(begins):  # few of them tell: those at which a row begins or has ended
        edges = np.concatenate([[0], first, end % size])
        # They come in a few rising runs, which the sort for an index merges.
        steps, _, at = np.unique(edges, return_index=True, return_inverse=True)
        first, end = at[1 : len(first) + 1], at[len(first) + 1 :] + len(steps) * (end >= size)
    count = len(steps)

    def covered(weights: Floats | None) -> Floats:
        edges = np.bincount(first, weights, 2 * count) - np.bincount(end, weights, 2 * count)
        sums = np.cumsum(edges)
        return np.asarray(sums[:count] + sums[count:])

    teeth, sums = covered(None), covered(scores)
    certain = (teeth >= FEWEST_PASSES) & (sums > LEAST_SCORE * teeth)
    z = np.where(certain, sums / np.sqrt(np.maximum(teeth, 1)), 0.0)
    best = int(np.argmax(z))
    return float(z[best]), int(steps[best])


def _steps_of_pass(begins: Ints, length: float) -> Ints:
    if length == int(length):  # remainders of whole numbers take a third of the time
        return np.asarray(begins % int(length))
    return np.asarray(np.floor(begins % length).astype(np.int64))


def _covers(begins: Ints, widths: Ints, length: float, place: int) -> Bools:
    first = _steps_of_pass(begins, length)
    size = math.ceil(length)
    return np.asarray((place - first) % size < widths)


def _same_rows(
    begins: Ints, widths: Ints, length: float, place: int, rows: Ints
) -> tuple[int, int]:
    """The first and the last step, around a place, that the same rows cover."""
    first = _steps_of_pass(begins[rows], length)
    size = math.ceil(length)
    before = int(np.min((place - first) % size))
    after = int(np.min(widths[rows] - 1 - (place - first) % size))
    return place - before, place + after


def _log_chance(z: float) -> float:
    if z < 1:
        return 0.0
    return -(z**2) / 2 - math.log(z * math.sqrt(2 * math.pi)) - math.log(1 - HITS_SHARE)
