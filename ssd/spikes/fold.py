"""Overlays stretches of a curve, and thins long curves for drawing.

Letters: `N` rows of a log, `K` stretches, `W` steps of a stretch.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ssd.spikes.log import Floats, Ints


def windows(
    steps: Ints, values: Floats, centres: Ints, before: int, after: int, stride: int = 1
) -> Floats:
    """The values [K, before + 1 + after] around each of K steps, NaN where the log has none.

    Args:
        steps: [N], rising.
        values: [N].
        centres: [K], the steps to look around.
        before: steps before each of them.
        after: steps after each of them.
        stride: steps from one row of the log to the next; `before` and `after` count in strides.
    """
    wanted_KW = centres[:, None] + stride * np.arange(-before, after + 1)
    rows_KW = np.searchsorted(steps, wanted_KW).clip(max=len(steps) - 1)
    usable_KW = (steps[rows_KW] == wanted_KW) & np.isfinite(values[rows_KW])
    return np.where(usable_KW, values[rows_KW], np.nan)


def over_level(values_KW: Floats, level_steps: int | None = None) -> Floats:
    """Each stretch divided by its median, or by that of its first `level_steps` steps.

    A stretch whose level is not a positive number becomes NaN.
    """
    level_K = quantile(values_KW[:, :level_steps].T, 0.5)
    level_K = np.where(level_K > 0, level_K, np.nan)
    return values_KW / level_K[:, None]


def passes(steps: Ints, values: Floats, period: int, origin: int, most: int) -> tuple[Ints, Floats]:
    """Overlays the last `most` passes; returns the places [W] in the pass and the values [K, W].

    Step s is at place (s - origin) mod `period`. Places without a row are left out.
    """
    number, place = (steps - origin) // period, (steps - origin) % period
    kept = np.isin(number, np.unique(number)[-most:])
    numbers_K, row = np.unique(number[kept], return_inverse=True)
    places_W, column = np.unique(place[kept], return_inverse=True)
    values_KW = np.full((len(numbers_K), len(places_W)), np.nan)
    values_KW[row, column] = np.where(np.isfinite(values[kept]), values[kept], np.nan)
    return places_W, values_KW


def quantile(values_KW: Floats, part: float) -> Floats:
    """The quantile [W] over the stretches that have a value, NaN where none has."""
    if not len(values_KW):
        return np.full(values_KW.shape[1], np.nan)
    ranked_KW = np.sort(values_KW, axis=0)  # NaN last
    place_W = part * np.maximum(np.sum(~np.isnan(ranked_KW), axis=0) - 1, 0)
    low_W, column_W = place_W.astype(int), np.arange(values_KW.shape[1])
    high_W = np.minimum(low_W + (place_W > low_W), len(ranked_KW) - 1)
    low, high = ranked_KW[low_W, column_W], ranked_KW[high_W, column_W]
    return np.asarray(low + (high - low) * (place_W - low_W))


def thin(values: Floats, most: int) -> Ints:
    """At most `most` rows that draw like all N: the lowest and the highest of each stretch."""
    if len(values) <= most:
        return np.arange(len(values))
    finite = np.isfinite(values)
    low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
    edges = np.linspace(0, len(values), most // 2 + 1).astype(int).tolist()
    lowest = [start + low[start:end].argmin() for start, end in pairwise(edges)]
    highest = [start + high[start:end].argmax() for start, end in pairwise(edges)]
    rows = np.union1d(lowest, highest)
    return np.asarray(rows[finite[rows]])
