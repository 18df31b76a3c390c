"""The level of a loss: what is left without it, and how far it jumps at given rows.

Letters: `N` rows, `B` rows at which the level may jump.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ssd.spikes.log import Floats, Ints
from ssd.spikes.passes import Passes

MOST_ROWS = 25  # whose median is a level
MOST_SHIFTS = 60
LONG_PART = 300  # rows, on average
AROUND = 9  # rows
MOSTLY, CERTAIN = 0.4, 1e-3  # share of the variance, chance
RANKED = 2**17  # values ranked together
WINSOR = 4.0  # standard deviations beyond which a value counts no more


class Jump(NamedTuple):
    """A jump of the level at rows.

    `size` is the median change of the log of the level there, beyond the change elsewhere; `share`
    the part of the rows with a change of that sign, and `p_value` the chance of a size as large.
    """

    size: float
    share: float
    p_value: float


class Slope(NamedTuple):
    """A slope over a stretch: the log of the level at its end over that at its start.

    `t` is its size over its error, which tells slopes apart whose chance is too small for a float.
    """

    size: float
    t: float
    p_value: float


def without_level(log_loss: Floats) -> Floats:
    """The log loss [N] less the running median around it, which follows jumps of the level.

    Values far out are drawn in to `WINSOR` standard deviations.
    """
    half = AROUND // 2
    rest = log_loss - running_medians(np.pad(log_loss, half, mode="reflect"), AROUND)
    most = WINSOR * spread(rest)
    return np.clip(rest, -most, most)


def spread(values: Floats) -> float:
    """The standard deviation by the median deviation from the median."""
    return 1.4826 * median(np.abs(values - median(values))) or 1e-12


def jump_at(log_loss: Floats, rows_B: Ints) -> Jump | None:
    """The jump of the level at rows, against that at other places between them.

    Returns:
        None where fewer than two rows have enough rows between them.
    """
    gap = int(np.median(np.diff(rows_B))) if len(rows_B) > 1 else 0
    width = min(gap // 3, MOST_ROWS)
    if width < 2:
        return None
    medians = running_medians(log_loss, width)
    change = medians[width:] - medians[:-width]  # at row i + width
    there = _changes(change, rows_B - width)
    shifts = np.unique(np.linspace(width, gap - width, min(gap, MOST_SHIFTS)).astype(int))
    others = [_changes(change, rows_B - width + shift) for shift in shifts]
    others = [moved for moved in others if len(moved) > 1]
    if len(there) < 2 or len(others) < 3:
        return None
    noise = spread(np.concatenate([moved - np.median(moved) for moved in others]))
    sizes = np.array([np.median(moved) for moved in others])
    size = float(np.median(there) - np.median(sizes))
    error = noise * (1.25 if len(there) > 2 else 1.0) / math.sqrt(len(there))
    share = float(np.mean(np.sign(there) == np.sign(size)))
    return Jump(
        size, share, chance_of_z(abs(size) / max(error, spread(sizes) * (1 + 3 / len(sizes))))
    )


def slope_within(rest: Floats, place: Ints, length: float) -> Slope | None:
    """The slope of the rest of a loss over stretches of some steps, in the mean over the passes.

    Rows of the same step of a pass are averaged first, so that an order that repeats counts as one
    pass. What is left beside the slope may be correlated from step to step, which is allowed for.

    Args:
        rest: [N] the log of the loss, without its level.
        place: [N] the step of the pass, from 0.
        length: steps of a stretch; one begins with the pass.
    """
    places, where, counts = np.unique(place, return_inverse=True, return_counts=True)
    mean = np.bincount(where, rest) / counts
    return slope_of(mean, np.asarray(places % length / length), np.ones((len(places), 1)))


def slope_of(mean: Floats, along: Floats, beside: Floats) -> Slope | None:
    """The slope of means [P] over what they are along [P], beside columns [P, C] of a trend."""
    basis, _ = np.linalg.qr(beside)
    return slope_beside(mean - basis @ (basis.T @ mean), along, basis)


def slope_beside(y: Floats, along: Floats, basis: Floats) -> Slope | None:
    """The slope of `slope_of`, of means without the trend whose orthonormal columns are `basis`."""
    x = along - basis @ (basis.T @ along)
    free = len(y) - basis.shape[1] - 1
    if free < 3 or x @ x < 1e-9:
        return None
    size = float(x @ y) / float(x @ x)
    left = y - size * x
    squares = float(left @ left)
    keep = min(max(float(left[1:] @ left[:-1]) / max(squares, 1e-24), 0.0), 0.95)
    error = math.sqrt(squares / free / float(x @ x) * (1 + keep) / (1 - keep))
    t = abs(size) / max(error, 1e-12)
    return Slope(size, t, chance_of_t(t, free))


def chance_of_t(t: float, free: int) -> float:
    """The chance that Student's |t| is as large, by Wallace's approximation to the normal."""
    z = (8 * free + 1) / (8 * free + 3) * math.sqrt(free * math.log1p(t**2 / free))
    return 2 * chance_of_z(z)


def without_pass_levels(log_loss: Floats, passes: Passes) -> Floats:
    """The log loss [N] less a line through the medians of the passes; far values are drawn in."""
    along = passes.number + passes.place / passes.length
    middles = passes.number[np.append(0, passes.starts)] + 0.5
    medians = medians_of(log_loss, passes.starts)
    trend = np.interp(along, middles, medians)
    trend += np.minimum(along - middles[0], 0) * (medians[1] - medians[0])
    trend += np.maximum(along - middles[-1], 0) * (medians[-1] - medians[-2])
    rest = log_loss - trend
    most = WINSOR * spread(rest)
    return np.asarray(np.clip(rest, -most, most))


def medians_of(values: Floats, starts: Ints) -> Floats:
    """The medians of parts of the values [N]; `starts` are the first rows of all but the first."""
    if len(values) > LONG_PART * (len(starts) + 1):  # few long parts: no need to sort them
        return np.array([median(part) for part in np.split(values, starts)])
    starts = np.append(0, starts)
    counts = np.diff(np.append(starts, len(values)))
    ranked = values[np.lexsort((values, np.repeat(np.arange(len(starts)), counts)))]
    return np.asarray((ranked[starts + (counts - 1) // 2] + ranked[starts + counts // 2]) / 2)


def _changes(change: Floats, at_B: Ints) -> Floats:
    return change[at_B[(at_B >= 0) & (at_B < len(change))]]


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's correlation; 0 where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(math.sqrt((a @ a) * (b @ b)), 1e-24))


def falls(mean: Floats) -> bool:
    """Returns whether a mean pass mostly rises or falls from its first to its last place."""
    share = correlation(mean, np.arange(len(mean)).astype(float)) ** 2
    free = len(mean) - 2
    if free < 3 or share < MOSTLY:
        return False
    return chance_of_t(math.sqrt(free * share / max(1 - share, 1e-12)), free) < CERTAIN


def chance_of_z(z: float) -> float:
    """The chance that a standard normal is z or more."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def median(values: Floats) -> float:
    """The median of finite values [N], of which there has to be one."""
    return float(_medians(values[None])[0])


def running_medians(values: Floats, width: int) -> Floats:
    """The medians [N - width + 1] of all runs of `width` finite values."""
    runs = sliding_window_view(values, width)
    parts = np.array_split(runs, len(runs) * width // RANKED + 1)
    return np.concatenate([_medians(part) for part in parts])


def _medians(values: Floats) -> Floats:
    """The medians of rows; faster than `np.median`, which ranks the highest value of each too."""
    half = values.shape[1] // 2
    ranked = np.partition(values, half, axis=1)
    if values.shape[1] % 2:
        return ranked[:, half].copy()  # a view would keep all that were ranked
    return np.asarray((ranked[:, :half].max(axis=1) + ranked[:, half]) / 2)
