"""Counts the steps of a log through all its passes, and tells its runs apart.

Logs count in many ways: every k-th step or every k-th and the last of a pass, through the whole run
or anew in each epoch, with whole epochs beside the steps, fractional ones or none.

Letters: `N` rows of the file, `M` rows of one run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ssd.spikes.log import Bools, Floats, Ints
from ssd.spikes.pass_length import Pass, pass_of_epochs, pass_of_fractions, pass_of_last_steps
from ssd.spikes.restarting_counts import numbers_of_passes, pass_of_restarts, runs_by_length

LARGEST_STEP, LARGEST_EPOCH = 2**40, 2**20


@dataclass(frozen=True)
class Run:
    """One run of a file, counted.

    Attributes:
        rows: [M] its rows in the file, without those that a resume replaced.
        steps: [M] their steps, rising.
        found: the length and place of its passes.
        num_replaced: the number of rows that a resume replaced.
    """

    rows: Ints
    steps: Ints
    found: Pass
    num_replaced: int = 0


def count_steps(
    count: int,
    counter: Floats | None,
    epoch: Floats | None = None,
    of: Floats | None = None,
    within_pass: bool = False,
    base: int | None = None,
    given: int | None = None,
) -> list[Run]:
    """The runs of a file, in its order; none if no row has a step.

    A new run begins where the count goes back to where the run began; where it goes back less far,
    the run was resumed, and its later rows replace the earlier ones of the same steps and after.

    Args:
        count: the number N of rows.
        counter: [N] the step of each row, or None where rows are only in order.
        epoch: [N] the epoch, whole or fractional.
        of: [N] the length of a pass, where the rows say it.
        within_pass: whether `counter` is known to count anew in each pass.
        base: the number of the first step of a pass, if `counter` does.
        given: the steps of a pass as the user gives them.
    """
    valid = np.arange(count) if counter is None else np.flatnonzero(_whole(counter))
    if of is not None:
        valid = valid[_whole(of[valid]) & (of[valid] > 0)]
    if not len(valid):
        return []
    epoch = epoch[valid] if epoch is not None and _known(epoch[valid]) else None
    whole = (
        epoch.astype(np.int64) if epoch is not None and (epoch == np.floor(epoch)).all() else None
    )
    if counter is None:
        counted = [_count_rows(rows, epoch, whole) for rows in _runs_of_rows(count, epoch)]
        return [replace(run, rows=valid[run.rows]) for run in counted]
    places = counter[valid].astype(np.int64)
    lengths = None if of is None else of[valid].astype(np.int64)
    if _counts_anew(places, epoch, within_pass or lengths is not None):
        number = np.floor(epoch).astype(np.int64) if epoch is not None else None
        runs = _runs_of_passes(places, number, lengths)
        counted = [_count_passes(rows, places, number, lengths, base, given) for rows in runs]
    else:
        counted = [_count_through(rows, places, epoch, whole) for rows in _runs_of_steps(places)]
    return [replace(run, rows=valid[run.rows]) for run in counted]


def _whole(numbers: Floats) -> Bools:
    mask: Bools = (np.abs(numbers) <= LARGEST_STEP) & (numbers == np.floor(numbers))
    return mask


def _known(epoch: Floats) -> bool:
    return bool((np.abs(epoch) <= LARGEST_EPOCH).all())


def _counts_anew(places: Ints, epoch: Floats | None, is_likely: bool) -> bool:
    """Whether the count starts anew in each epoch: where it falls, the epoch mostly rises.

    Where both fall, another run begins, which tells nothing.
    """
    falls = np.diff(places) <= 0
    if epoch is None or not falls.any():
        return is_likely
    change = np.diff(np.floor(epoch))[falls]
    return int(np.sum(change > 0)) > int(np.sum(change == 0))


# Runs in a file: the rows of each


def _runs_of_rows(count: int, epoch: Floats | None) -> list[Ints]:
    """Where rows have no step: a run ends where the epoch falls."""
    if epoch is None:
        return [np.arange(count)]
    return list(np.split(np.arange(count), np.flatnonzero(np.diff(epoch) < 0) + 1))


def _runs_of_steps(steps: Ints) -> list[Ints]:
    """Where the steps count through the run: it ends where they go back to its first one."""
    begins, first = [], steps[0]
    for i in np.flatnonzero(np.diff(steps) <= 0) + 1:
        if steps[i] <= first:
            begins.append(i)
            first = steps[i]
    return list(np.split(np.arange(len(steps)), begins))


def _runs_of_passes(places: Ints, number: Ints | None, lengths: Ints | None) -> list[Ints]:
    """Where the steps count anew in each pass: a run ends where the epoch goes back to its first.

    It also ends where passes of another length begin.
    """
    if lengths is not None:
        begins = list(np.flatnonzero(np.diff(lengths)) + 1)
    elif number is None:
        begins = list(np.flatnonzero(np.diff(runs_by_length(places))) + 1)
    else:
        begins = []
    if number is not None:
        first = number[0]
        for i in np.flatnonzero(np.diff(number) < 0) + 1:
            if number[i] <= first:
                begins.append(i)
                first = number[i]
    return list(np.split(np.arange(len(places)), np.unique(np.array(begins, np.int64))))


# The steps of a run


def _count_rows(rows: Ints, epoch: Floats | None, whole: Ints | None) -> Run:
    """Where rows have no step, a row is taken for one; that is exact only in a bare column."""
    steps = np.arange(len(rows), dtype=np.int64)
    if epoch is None:
        return Run(rows, steps, Pass(None, 0))
    if whole is not None:
        found = pass_of_epochs(steps, whole[rows])
    else:
        found = pass_of_fractions(steps, epoch[rows])
    return Run(rows, steps, replace(found, exact=False))


def _count_through(rows: Ints, steps: Ints, epoch: Floats | None, whole: Ints | None) -> Run:
    kept = rows[_not_replaced(steps[rows])]
    steps_M = steps[kept]
    if whole is not None and whole[kept[0]] != whole[kept[-1]]:
        found = pass_of_epochs(steps_M, whole[kept])
    elif epoch is not None and whole is None:
        found = pass_of_fractions(steps_M, epoch[kept])
    else:
        found = pass_of_last_steps(steps_M)
    return Run(kept, steps_M, found, len(rows) - len(kept))


def _count_passes(
    rows: Ints,
    places: Ints,
    number: Ints | None,
    lengths: Ints | None,
    base: int | None,
    given: int | None,
) -> Run:
    """The steps of a run whose `places` count anew in each pass, through all of them."""
    places_M = places[rows]
    number_M = numbers_of_passes(places_M, None if number is None else number[rows])
    if lengths is not None:
        length = int(lengths[rows[0]])
        ends = (places_M == 0).any(), (places_M == length).any()
        base = 0 if ends[0] else 1 if ends[1] else base
        found = Pass(max(length, int(places_M.max())), base, exact=base is not None)
    else:
        found = pass_of_restarts(places_M, number_M, base)
    reach = int(places_M.max()) - (found.first_step or 0) + 1
    if given is not None and given >= reach:
        found = Pass(given, found.first_step)
    steps_M = number_M * (found.length or 0) + places_M
    keep = _not_replaced(steps_M)
    return Run(rows[keep], steps_M[keep], found, len(rows) - int(keep.sum()))


def _not_replaced(steps: Ints) -> Bools:
    """The mask [M] of the rows after which no row has their step or one before it."""
    least_after = np.minimum.accumulate(steps[::-1])[::-1]
    mask: Bools = np.append(steps[:-1] < least_after[1:], True)
    return mask
