"""A fixed order that repeats: each pass has the losses of the one before, once the trend is out.

The loss of a batch depends on its images. Shuffled anew, the passes have nothing in common; in the
same order, the same batches are hard in each of them, and the passes correlate.

Letters: `N` rows, `P` pairs of rows of the same step of two passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ssd.spikes.finding import Finding
from ssd.spikes.grouped import find_groups
from ssd.spikes.level import chance_of_z, correlation, falls, without_level, without_pass_levels
from ssd.spikes.log import Floats, Ints
from ssd.spikes.passes import Passes, passes_of_length

FEWEST_ROWS, FEWEST_PAIRS, FEWEST_PASSES = 20, 20, 3
# Rows of a pass: fewer than SHORTEST cannot tell an order from groups or restarts.
SHORTEST_PART, SHORTEST = 4, 12
CORRELATED, CORRELATED_PLAIN, STRIKING = 0.35, 0.2, 0.15
CERTAIN = 1e-3
MOST_MULTIPLE, MOST_DRIFT, PERSISTS = 9, 2, 0.6  # passes apart, rows, of the correlation
NEARLY = 0.6  # of the highest correlation: a shorter lag that has as much is the pass
PATTERNED, NOISE = 0.6, 4.0  # correlation; of chance, times 1 / root of the rows of a pass
SMOOTH = 0.45  # of the correlation of passes, where one is a row off
FARTHEST, MOST_SHIFTS, SHORT_LAGS = 200, 60, 10


@dataclass(frozen=True)
class FixedOrder:
    """An order that repeats.

    Attributes:
        period: steps after which it does.
        correlation: of the losses of the same step in two passes, without their trend.
        pairs: the number of such pairs.
        p_value: the chance of one as high in a shuffled order.
        is_patterned: whether a pass repeats within itself too, so that groups may be the cause.
        slack: steps by which the period may be off: rows may be means, and repeat nearly.
    """

    period: float
    correlation: float
    pairs: int
    p_value: float
    is_patterned: bool
    slack: float = 0.0


def find_fixed_order(
    steps: Ints, log_loss: Floats, passes: Passes | None, shown: Floats | None = None
) -> FixedOrder | None:
    """The order of a log that repeats with the pass, or with any period where that is unknown.

    Args:
        steps: [N].
        log_loss: [N] without its spikes and drops.
        passes: of the rows; None: unknown.
        shown: [N] the log loss with them, if that is another, to tell patterns within a pass by.
    """
    shown = log_loss if shown is None else shown
    if len(steps) < FEWEST_ROWS:
        return None
    rest = without_level(log_loss)
    if passes is not None:
        enough = passes.count >= FEWEST_PASSES and passes.rows >= SHORTEST
        return _repeats(shown, rest, passes, 1.0) if enough else None
    stride = int(np.median(np.diff(steps)))
    if np.mean(np.diff(steps) == stride) < 0.75:
        return None
    lag, tried = _best_lag(rest, (steps - steps[0]) // stride)
    if lag is None:
        return None
    if not _persists(rest, lag):
        return None
    first = 1 if steps[0] <= stride else int(steps[0])
    found = _repeats(shown, rest, passes_of_length(steps, float(lag * stride), first), tried)
    if found is None:
        return None
    patterned = found.is_patterned or _are_groups(shown, steps, lag * stride, first, stride)
    return replace(found, slack=float(stride) if stride > 1 else 0.0, is_patterned=patterned)


def tell_fixed_order(found: FixedOrder, known: bool) -> Finding:
    """The finding in words; `known` is whether the log tells that the period is a pass."""
    each = "each pass" if known else f"each stretch of {found.period:.6g} steps"
    if found.is_patterned:
        return Finding(
            "unknown",
            f"The losses of {each} repeat those of the one before (correlation "
            f"{found.correlation:.2f} once the trend is out), and there are patterns within it: "
            "batches grouped by length or kind would look like this, and so would an order that is "
            "not shuffled, of images that are like their neighbours.",
            "To settle it, give the steps per epoch, log every step, or shuffle the images anew in "
            "each pass.",
            found.period,
            found.correlation,
            found.p_value,
        )
    pass_of = "" if known else f" Every {found.period:.6g} steps would be a pass."
    return Finding(
        "fixed_order",
        f"The order is not shuffled: the losses of {each} repeat those of the one before "
        f"(correlation {found.correlation:.2f} over {found.pairs} pairs of rows, once the trend is "
        f"out; it is below 0.1 in a shuffled order).{pass_of}",
        "Shuffle the images anew in each pass (in torch: shuffle=True, and set_epoch of a "
        "distributed sampler). Steps that stand out in each pass are then no longer the same.",
        found.period,
        found.correlation,
        found.p_value,
        found.slack,
    )


def _repeats(shown: Floats, rest: Floats, passes: Passes, tried: float) -> FixedOrder | None:
    order = np.lexsort((passes.number, passes.place))
    same = np.diff(passes.place[order]) == 0
    first_P, second_P = order[:-1][same], order[1:][same]
    if len(first_P) < FEWEST_PAIRS:
        return None
    rest_P = rest[first_P]
    alike = correlation(rest_P, rest[second_P])
    reach = int(min(FARTHEST, passes.rows - 2))
    shifts = np.unique(np.linspace(-reach, reach, MOST_SHIFTS).astype(int))
    shifts = shifts[np.abs(shifts) > 1]
    others = np.array([correlation(rest_P, np.roll(rest, -shift)[second_P]) for shift in shifts])
    usual = max(0.0, float(np.quantile(others, 0.75))) if len(others) > 3 else 0.0
    lags = range(1, min(SHORT_LAGS, reach) + 1)
    follows = sum(correlation(rest[:-lag], rest[lag:]) ** 2 for lag in lags)
    noise = math.sqrt((1 + 2 * follows) / len(first_P))  # Bartlett's
    p_value = min(1.0, tried * chance_of_z((alike - usual) / noise))
    if alike - usual < CORRELATED or p_value > CERTAIN:
        return None
    plain = ~np.isin(passes.place, _striking(rest, passes.place))
    plain_P = plain[first_P]
    if correlation(rest_P[plain_P], rest[second_P[plain_P]]) < CORRELATED_PLAIN:
        return None
    if tried > 1:
        patterned = _is_smooth(shown, passes, first_P, second_P)
    else:
        patterned = _is_patterned(shown, passes)
    steps_apart = np.median(np.diff(passes.number[order])[same]) if same.any() else 1
    period = passes.length * (steps_apart if tried > 1 else 1)
    return FixedOrder(float(period), alike, len(first_P), p_value, patterned)


def _persists(rest: Floats, lag: int) -> bool:
    """Returns whether passes far apart are alike too, unlike those of a saw-tooth that shifts."""
    near = range(-MOST_DRIFT, MOST_DRIFT + 1)
    multiples = range(1, max(2, min(MOST_MULTIPLE, len(rest) // (2 * lag))) + 1)
    alike = [
        max(
            correlation(rest[: -lag * part + aside], rest[lag * part - aside :])
            for aside in (near if part > 1 else [0])
            if lag * part - aside < len(rest) - 2
        )
        for part in multiples
        if lag * part < len(rest) - FEWEST_PAIRS
    ]
    return len(alike) > 0 and float(np.median(alike)) > PERSISTS * alike[0]


def _striking(rest: Floats, place: Ints) -> Ints:
    """The steps of the pass that stand out most; without them, the others still have to repeat."""
    places, where, counts = np.unique(place, return_inverse=True, return_counts=True)
    mean = np.bincount(where, rest) / counts
    count = math.ceil(STRIKING * len(places))
    return places[np.argsort(-np.abs(mean), kind="stable")[:count]]


def _is_smooth(log_loss: Floats, passes: Passes, first_P: Ints, second_P: Ints) -> bool:
    """Returns whether a pass is nearly as like the one before a row off: batches are sorted."""
    rest = without_pass_levels(log_loss, passes)
    before, alike, after = (
        correlation(rest[first_P], np.roll(rest, shift)[second_P]) for shift in (1, 0, -1)
    )
    return min(before, after) > SMOOTH * alike


def _are_groups(log_loss: Floats, steps: Ints, period: int, first: int, stride: int) -> bool:
    """Returns whether groups would look like it, in passes whose every `stride`-th step has a row.

    Such a log returns to a step after one pass or after as many as divide `stride`.
    """
    lengths = [period // part for part in range(1, stride + 1) if stride % part == 0]
    found = (
        find_groups(log_loss, passes_of_length(steps, length, first), (1,)) for length in lengths
    )
    return any(groups is not None for groups in found)


def _is_patterned(log_loss: Floats, passes: Passes) -> bool:
    """Returns whether the mean pass repeats within itself, as groups of batches would.

    Rows next to each other are not compared: means over some steps may share them.
    """
    tick = max(1, round(passes.length / passes.rows))
    rest = without_pass_levels(log_loss, passes)
    places, where, counts = np.unique(passes.place // tick, return_inverse=True, return_counts=True)
    mean = np.bincount(where, rest) / counts
    lags = range(2, min(len(places) // 3, FARTHEST) + 1)
    alike = [correlation(mean[:-lag], mean[lag:]) for lag in lags]
    if falls(mean) or find_groups(log_loss, passes, (1, tick)) is not None:
        return True
    return max(alike, default=0) > max(PATTERNED, NOISE / math.sqrt(len(places)))


def _best_lag(rest: Floats, ticks: Ints) -> tuple[int | None, float]:
    """The shortest lag in ticks at which the rest repeats most, and the number of lags tried."""
    span = int(ticks[-1]) + 1
    values, there = np.zeros(span), np.zeros(span)
    values[ticks], there[ticks] = rest - rest.mean(), 1
    size = 2 ** math.ceil(math.log2(2 * span))
    sums, pairs = (_autocorrelation(column, size)[:span] for column in (values, there))
    lags = np.arange(span)
    known = (lags >= SHORTEST_PART) & (pairs > FEWEST_PAIRS)
    usable = known & (lags >= SHORTEST)
    if not usable.any():
        return None, 1.0
    repeats = np.where(known, sums / np.maximum(pairs, 1) / max(float(np.var(rest)), 1e-24), -1.0)
    peaks = repeats - np.maximum(0, (np.roll(repeats, 2) + np.roll(repeats, -2)) / 2)
    z = np.where(usable, peaks * np.sqrt(np.maximum(pairs, 1)), -1.0)
    best = int(np.argmax(z))
    if z[best] <= 0:
        return None, 1.0
    parts = {round(best / part) for part in range(2, best // SHORTEST_PART + 1)}
    shorter = [lag for lag in parts if peaks[lag] > NEARLY * peaks[best]]
    shortest = min([best, *shorter])
    return (shortest if shortest >= SHORTEST else None), float(usable.sum())


def _autocorrelation(values: Floats, size: int) -> Floats:
    spectrum = np.fft.rfft(values, size)
    return np.asarray(np.fft.irfft(spectrum * spectrum.conj(), size))
