"""Batches grouped by length: a saw-tooth within the pass that starts anew with it.

A sampler that groups by length sorts each stretch of some batches (50 in Hugging Face's) from long
to short, and the loss follows. The last stretch of a pass is cut off, so that the saw-tooth has no
period of its own over the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssd.spikes.finding import Finding
from ssd.spikes.level import slope_beside, without_pass_levels
from ssd.spikes.log import Floats, Ints
from ssd.spikes.passes import Passes

FEWEST_ROWS, FEWEST_PASSES, FEWEST_GROUPS, FEWEST_STEPS = 20, 3, 3, 4
MOST_LENGTHS, MOST_WIDTH = 400, 100
TREND, PARTS = 3, 20  # degree of the trend within the pass; parts of a group
CERTAIN, NOTABLE = 1e-4, 1.15


@dataclass(frozen=True)
class Groups:
    """Groups of batches.

    Attributes:
        steps: of a group.
        size: the log of the level at the end of a group over that at its start, of the steps.
        rows: the mean loss of the rows at the start of a group and at its end, over that of all.
        fitted: [N] the log of the level that the group gives each row.
        p_value: the chance of a pattern as strong, with all lengths of a group that were tried.
    """

    steps: int
    size: float
    rows: tuple[float, float]
    fitted: Floats
    p_value: float


def find_groups(log_loss: Floats, passes: Passes, widths: tuple[int, ...]) -> Groups | None:
    """The groups of batches within each pass, if the loss shows them.

    Args:
        log_loss: [N].
        passes: of the rows.
        widths: the steps that a row is the mean of, or may be.
    """
    if len(log_loss) < FEWEST_ROWS or passes.count < FEWEST_PASSES:
        return None
    rest = without_pass_levels(log_loss, passes)
    places, where, counts = np.unique(passes.place, return_inverse=True, return_counts=True)
    mean = np.bincount(where, rest) / counts
    basis, _ = np.linalg.qr(np.vander(places / passes.length, TREND + 1))
    without_trend = mean - basis @ (basis.T @ mean)
    longest = int(passes.length // FEWEST_GROUPS)
    shortest = max(FEWEST_STEPS, math.ceil(2 * passes.length / passes.rows))
    lengths = range(shortest, min(longest, shortest + MOST_LENGTHS) + 1)
    found = []
    for length in lengths:
        for width in widths:
            along = _along(places, round(passes.length), length, width)
            if slope := slope_beside(without_trend, along, basis):
                found.append((slope, length, along))
    if not found:
        return None
    slope, length, along = max(found, key=lambda one: one[0].t)
    p_value = min(1.0, len(found) * slope.p_value)
    if p_value > CERTAIN or abs(slope.size) < math.log(NOTABLE):
        return None
    fitted = slope.size * (along - 0.5)[where]
    return Groups(length, slope.size, _ends(rest, passes.place, length), fitted, p_value)


def _ends(rest: Floats, place: Ints, length: int) -> tuple[float, float]:
    """The highest and the lowest mean of the rows in a part of a group, in the order they come."""
    part = place % length * PARTS // length
    counts, level = np.bincount(part), np.exp(rest)
    there = np.flatnonzero(counts)
    means = np.bincount(part, level)[there] / counts[there] / level.mean()
    first, last = sorted((int(np.argmax(means)), int(np.argmin(means))))
    return float(means[first]), float(means[last])


def _along(places: Ints, whole: int, length: int, width: int) -> Floats:
    """How far along its group each step of a pass is, in the mean over the steps of its row."""
    steps = (places[:, None] - np.arange(min(width, MOST_WIDTH))) % whole
    return np.asarray((steps % length / length).mean(axis=1))


def tell_groups(found: Groups) -> Finding:
    """The finding in words."""
    first, last = found.rows
    return Finding(
        "grouped_batches",
        f"Within each pass the loss runs through a pattern of {found.steps} steps, from "
        f"{first:.2f} to {last:.2f} times the level, that starts anew with the pass: "
        f"batches grouped by length, {found.steps} at a time, look like this.",
        "This is the order of the batches, and no harm by itself. Without grouping (no "
        "group_by_length, a plain shuffled sampler) it vanishes; compare means over whole passes.",
        float(found.steps),
        max(first, last) / min(first, last),
        found.p_value,
    )
