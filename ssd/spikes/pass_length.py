"""Finds the length of a pass where the steps of a log count through all passes.

Letters: `M` rows of a run, `C` changes of the epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssd.spikes.log import Floats, Ints

MOST_DECIMALS = 6
MOST_TRIED = 2**24  # lengths of a pass times changes of the epoch
MOST_LENGTHS = 1000
SLACK = 1e-6  # of a length, for epochs that are not rounded
MOSTLY = 0.9
OPEN = 0.1  # of a length, up to which several that agree are told by one
FEWEST_ENDS = 3


@dataclass(frozen=True)
class Pass:
    """The length of a pass and its place among the steps.

    Attributes:
        length: in steps; None: unknown.
        first_step: a step that begins a pass; None: unknown.
        exact: whether the place of each row in its pass is certain.
    """

    length: int | None = None
    first_step: int | None = None
    exact: bool = True


def stride_of(steps: Ints) -> int:
    """The most common distance between rows, at least 1: 10 if a log has every tenth step."""
    distances = np.diff(steps)
    distances = distances[distances > 0]
    if not len(distances):
        return 1
    found, counts = np.unique(distances, return_counts=True)
    return int(found[counts.argmax()])


def first_of(steps: Ints) -> int | None:
    """The number of the run's first step, 0 or 1; None where the log does not start with the run.

    A log of every tenth step has 9, 19 … if the run counts from 0, and 10, 20 … if from 1.
    """
    stride = stride_of(steps)
    if steps[0] > max(stride, 1):
        return None
    counts_from_0 = steps[0] == 0 or (stride > 1 and steps[0] % stride == stride - 1)
    return 0 if counts_from_0 else 1


def pass_of_epochs(steps: Ints, epoch: Ints) -> Pass:
    """The pass in a log with whole epochs: its only length and place that agree with all changes.

    An epoch begins after the last row of the one before and not after its own first row. Where
    several lengths agree, one that is a multiple of the distance of the rows is the likeliest.

    Args:
        steps: [M], rising.
        epoch: [M].
    """
    first = first_of(steps)
    at = np.flatnonzero(np.diff(epoch) > 0) + 1
    if not len(at) or (np.diff(epoch) < 0).any():
        return Pass(None, first)
    number = epoch - epoch[0]  # epoch e begins at `begin + number * length`
    low = (number[at - 1] + 1, steps[at - 1] + 1)  # this epoch begins at this step or after it
    high = (number[at], steps[at])  # and this one at this step or before it
    begins = [] if first is None else [(first, first)]
    for begin in [*begins, (-(2**62), 2**62)]:
        agreeing = _agreeing(low, high, begin)
        if agreeing:
            break
    if not agreeing or agreeing[-1][0] - agreeing[0][0] > OPEN * agreeing[0][0]:
        return Pass(None, first)
    stride = stride_of(steps)
    on_grid = [each for each in agreeing if each[0] % stride == 0]
    chosen = (on_grid or agreeing)[len(on_grid or agreeing) // 2]
    length, lowest, highest = chosen
    # A run counts from 1 or from 0, so that a pass begins at such a step, too.
    begins_at = [highest - (highest - base) % length for base in (first or 1, 1, 0)]
    start = next((step for step in begins_at if step >= lowest), lowest)
    return Pass(length, int(start % length), len(agreeing) == 1 and lowest == highest)


def _agreeing(
    low: tuple[Ints, Ints], high: tuple[Ints, Ints], begin: tuple[int, int]
) -> list[tuple[int, int, int]]:
    """Each length that agrees with all changes, and the first and last step where it can begin."""
    (low_number, low_step), (high_number, high_step) = low, high
    if begin[0] == begin[1]:
        shortest = max(1, int(np.max(-((begin[0] - low_step) // low_number))))
        longest = int(np.min((high_step - begin[0]) // high_number))
    else:
        passes = int(low_number[-1] - high_number[0])
        if passes < 1:
            return []
        shortest = max(1, -(-int(low_step[-1] - high_step[0]) // passes))
        longest = int(high_step[-1] - low_step[0]) // max(1, int(high_number[-1] - low_number[0]))
    if longest < shortest or (longest - shortest + 1) * len(low_step) > MOST_TRIED:
        return []
    found = []
    for length in range(shortest, longest + 1):
        lowest = max(begin[0], int(np.max(low_step - low_number * length)))
        highest = min(begin[1], int(np.min(high_step - high_number * length)))
        if lowest <= highest:
            found.append((length, lowest, highest))
    return found


def pass_of_fractions(steps: Ints, epoch: Floats) -> Pass:
    """The pass in a log with fractional epochs: epoch = step / length, up to its rounding.

    Where gradients are accumulated, some trainers end a pass with a step of fewer batches, so that
    the epoch is linear within each pass only.

    Args:
        steps: [M], rising.
        epoch: [M].
    """
    half = _rounding(epoch)
    counts_from_0 = steps[0] == 0 and epoch[0] <= half
    for done in (0, 1):  # steps that count from 0 may log the epoch before or after the step
        known = epoch > half
        if not known.any():
            break
        at, part = (steps[known] + done).astype(np.float64), epoch[known]
        shortest, longest = float(np.max(at / (part + half))), float(np.min(at / (part - half)))
        if shortest > longest * (1 + SLACK):
            continue
        lowest, highest = math.ceil(shortest * (1 - SLACK)), math.floor(longest * (1 + SLACK))
        length = max(1, round((shortest + longest) / 2))
        start = 0 if done or counts_from_0 else 1
        return Pass(length, start % length, exact=lowest == highest)
    return _pass_with_last_step(steps, epoch, half)


def _pass_with_last_step(steps: Ints, epoch: Floats, half: float) -> Pass:
    """The pass in a log whose epoch is linear in each pass, but for its last step."""
    first = first_of(steps)
    within = (epoch > half) & (epoch < 1 - half)
    if first != 1 or not within.any():
        return Pass(None, first)
    at = steps[within].astype(np.float64)
    shortest = math.floor(np.max(at / (epoch[within] + half)))
    longest = math.ceil(np.min(at / (epoch[within] - half)))
    found = []
    for length in range(max(1, shortest), min(longest, shortest + MOST_LENGTHS) + 1):
        number, place = (steps - 1) // length, (steps - 1) % length + 1
        part = epoch - number
        inner = np.abs(part - 1) > half  # not a last step
        low, high = (part - half) / place, (part + half) / place
        if inner.any() and low[inner].max() <= high[inner].min() * (1 + SLACK):
            found.append(length)
    if not found:
        return Pass(None, first)
    length = found[len(found) // 2]
    return Pass(length, 1 % length, exact=len(found) == 1)


def _rounding(epoch: Floats) -> float:
    """Half a unit of the last decimal to which all epochs are rounded; tiny if they are not."""
    for decimals in range(1, MOST_DECIMALS):
        if (np.abs(np.round(epoch, decimals) - epoch) < 1e-9).all():
            return 0.5 * 10.0**-decimals
    return 1e-9 * max(1.0, float(epoch.max()))


def pass_of_last_steps(steps: Ints) -> Pass:
    """The pass in a log of every k-th step and the last of each pass, without epochs.

    The last step of a pass comes sooner after the row before it than k. If most such rows are
    equally far apart, that is the length of a pass.

    Args:
        steps: [M], rising.
    """
    first = first_of(steps)
    distances = np.diff(steps)
    short = distances < stride_of(steps)
    ends = steps[1:][short & ~np.append(False, short[:-1])]
    if len(ends) < FEWEST_ENDS:
        return Pass(None, first)
    lengths, counts = np.unique(np.diff(ends), return_counts=True)
    length = int(lengths[counts.argmax()])
    agrees = counts.max() >= MOSTLY * counts.sum() and (ends[0] + 1) % length in (0, 1)
    if first is None or not agrees or length <= stride_of(steps):
        return Pass(None, first)
    return Pass(length, int((ends[0] + 1) % length))
