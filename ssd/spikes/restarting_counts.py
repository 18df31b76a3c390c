"""Counts steps through all passes where a log counts them anew in each.

Letter: `M` rows of a run.
"""

from __future__ import annotations

import numpy as np

from ssd.spikes.log import Ints
from ssd.spikes.pass_length import Pass, first_of, stride_of

OTHER_LENGTH = 0.1  # part of a pass by which passes of one run do not differ
FEWEST_EQUAL = 2


def pass_of_restarts(places: Ints, number: Ints, base: int | None = None) -> Pass:
    """The length of the passes of a run that counts anew in each; `first_step` is 0 or 1.

    - Every step is logged: the last one of a pass is the highest number.
    - Every k-th and the last: the row that is off the grid of k is the last.
    - Every k-th of the whole run, so that the first row of a pass varies: the distance from the
      last row of a pass to the first of the next is k.
    - Every k-th of each pass: a pass may be longer than its last row tells, by up to k - 1 steps;
      a multiple of k is taken, and the result is not exact.

    Args:
        places: [M] the numbers within the pass.
        number: [M] the number of the pass, rising.
        base: the number of the first step of a pass, if known.
    """
    begins = np.flatnonzero(np.diff(number) > 0) + 1
    within = np.diff(places)[np.diff(number) == 0]
    stride = stride_of(np.append(0, np.cumsum(within[within > 0]))) if (within > 0).any() else 1
    if base is None:
        base = _base_of(places, stride)
    start = 1 if base is None else base
    next_to = np.diff(number)[begins - 1] == 1
    lasts, firsts = places[begins - 1][next_to], places[begins][next_to]
    if not len(lasts):
        return Pass(None, start, exact=base is not None)
    if stride == 1:
        length = int(lasts.max()) - start + 1
        sure = np.sum(lasts == lasts.max()) >= min(FEWEST_EQUAL, len(lasts))
        return Pass(length, start, exact=bool(sure) and base is not None)
    first, is_locked = _most_common(firsts)
    last, is_constant = _most_common(lasts)
    grid, _ = _most_common(places % stride)
    if is_locked and is_constant and (last - grid) % stride:
        return Pass(last - start + 1, start, exact=base is not None)
    if is_locked:
        on_grid = places[places % stride == grid]
        # A first step that is logged beside every k-th one is off the grid, too.
        return Pass(int(on_grid.max() - on_grid.min()) + stride, start, exact=False)
    length, agree = _most_common(stride + lasts - firsts)
    return Pass(length, start, exact=agree and base is not None)


def runs_by_length(places: Ints) -> Ints:
    """The number of the run [M] of each row, where a file without epochs counts anew in each pass.

    A run ends where the passes become longer or shorter than before: a shorter pass is its last.
    """
    begins = np.concatenate([[0], np.flatnonzero(np.diff(places) <= 0) + 1])
    lasts = np.append(places[begins[1:] - 1], places[-1])
    stride = stride_of(places)
    run_of_pass = np.zeros(len(lasts), np.int64)
    longest, has_ended = int(lasts[0]), False
    for i in range(1, len(lasts)):
        slack = max(OTHER_LENGTH * longest, 2 * stride)
        starts = has_ended or lasts[i] > longest + slack
        run_of_pass[i] = run_of_pass[i - 1] + starts
        longest = int(lasts[i]) if starts else max(longest, int(lasts[i]))
        has_ended = bool(lasts[i] < longest - slack)
    return np.repeat(run_of_pass, np.diff(np.append(begins, len(places))))


def numbers_of_passes(places: Ints, epoch: Ints | None) -> Ints:
    """The number of the pass [M] of each row of a run, from 0."""
    if epoch is not None:
        number: Ints = epoch - epoch.min()
        return number
    return np.append(0, np.cumsum(np.diff(places) <= 0))


def _base_of(places: Ints, stride: int) -> int | None:
    """The number of the first step of a pass, 0 or 1, from those that are logged."""
    least = int(places.min())
    if least == 0:
        return 0
    if places[0] <= stride:
        return first_of(places[0] + np.array([0, stride]))
    return 1 if least == 1 else None


def _most_common(values: Ints) -> tuple[int, bool]:
    """The most common value, and whether more than half are equal to it."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()]), bool(2 * counts.max() > counts.sum())
