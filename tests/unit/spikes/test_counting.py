"""Counts the steps of simulated runs, whose true steps are known, in the ways that people log."""

import numpy as np
import pytest

from ssd.spikes.counting import count_steps

PASSES = 8


def logged(kept, length, base=1, passes=PASSES):
    """The steps, places and epochs of the rows that a trainer logs.

    Args:
        kept: takes the step and the place in the pass, both from 1, and tells if there is a row.
        length: steps of a pass.
        base: the number of the first step and place.
    """
    step = np.arange(1, passes * length + 1)
    place = (step - 1) % length + 1
    rows = np.array([kept(s, p) for s, p in zip(step, place, strict=True)])
    epoch = (step - 1) // length
    return step[rows] - 1 + base, place[rows] - 1 + base, epoch[rows]


def count(counter, epoch=None, **more):
    floats = [None if each is None else np.asarray(each, float) for each in (counter, epoch)]
    return count_steps(len(floats[0] if floats[0] is not None else floats[1]), *floats, **more)


def every(k, last=None):
    return lambda step, place: place % k == 0 or place == last


# Through the whole run


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("k", [1, 3, 10, 47, 50])
@pytest.mark.parametrize("length", [100, 103])
def test_steps_with_whole_epochs(base, k, length):
    """A row of every k-th step, counted through: a pass is known where it can only be that one."""
    steps, _, epoch = logged(lambda step, place: step % k == 0, length, base, passes=60)
    (run,) = count(steps, epoch)
    assert run.steps.tolist() == steps.tolist()
    assert run.found.length == length
    assert run.found.first_step == base
    assert run.found.exact or length % k == 0


@pytest.mark.parametrize(
    ("length", "k", "found"), [(103, 50, None), (500, 50, 500), (517, 20, 517)]
)
def test_few_epochs_leave_the_length_open(length, k, found):
    steps, _, epoch = logged(lambda step, place: step % k == 0, length, passes=4)
    (run,) = count(steps, epoch)
    assert run.found.length == pytest.approx(found, abs=k / 3)
    assert run.found.exact == (found is None)  # the steps are certain


def test_epochs_of_unequal_lengths_have_none():
    epoch = np.repeat([0, 1, 2, 3], [5, 7, 11, 5])
    (run,) = count(np.arange(1, 29), epoch)
    assert run.found.length is None


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("style", ["after 1", "after 0"])
def test_every_kth_and_the_last_without_epochs(base, style):
    """`i % 50 == 0 or last`, with i from 1 or from 0 in each epoch."""
    offset = int(style == "after 0")
    steps, _, _ = logged(lambda step, place: (place - offset) % 50 == 0 or place == 517, 517, base)
    (run,) = count(steps)
    assert run.found.length == 517
    assert run.found.first_step == base
    assert run.found.exact


@pytest.mark.parametrize("decimals", [2, 4, 16])
@pytest.mark.parametrize(("length", "k"), [(517, 10), (28, 1), (500, 50)])
def test_fractional_epochs(decimals, length, k):
    steps = np.arange(k, 40 * length + 1, k)
    (run,) = count(steps, np.round(steps / length, decimals))
    assert run.found.length == length
    assert run.found.first_step == 1
    assert run.found.exact


@pytest.mark.parametrize("before", [True, False])
def test_fractional_epochs_of_steps_from_0(before):
    steps = np.arange(0, 400)
    (run,) = count(steps, (steps + (not before)) / 40)
    assert (run.found.length, run.found.first_step, run.found.exact) == (40, 0, True)


def test_fractional_epochs_with_accumulated_gradients():
    """8 of 8,223 batches a step, the last 7 in a step of their own: the epoch ends at 1."""
    place = np.arange(1, 1029)
    epoch = np.concatenate([n + np.minimum(place * 8, 8223) / 8223 for n in range(3)])
    (run,) = count(np.arange(1, 3 * 1028 + 1), epoch)
    assert (run.found.length, run.found.exact) == (1028, True)


def test_batches_that_are_accumulated_across_epochs_give_no_whole_pass():
    steps = np.arange(10, 10_001, 10)
    (run,) = count(steps, np.round(steps / 411.75, 2))
    assert (run.found.length, run.found.exact) == (412, False)


def test_one_pass_is_a_pass():
    steps = np.arange(1, 1029)
    (run,) = count(steps, steps / 1028)
    assert (run.found.length, run.found.exact) == (1028, True)


# Anew in each epoch


@pytest.mark.parametrize("with_epoch", [True, False])
@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize(
    ("kept", "length", "exact"),
    [
        (every(1), 40, True),
        (every(50, last=517), 517, True),
        (every(50, last=500), 500, False),
        (every(50), 500, False),
        (lambda step, place: place % 50 == 0 or place in (1, 517), 517, True),
        (lambda step, place: step % 50 == 0, 517, True),
        (lambda step, place: (place - 1) % 50 == 0 or place == 517, 517, True),
        (lambda step, place: (place - 1) % 50 == 0, 500, False),
    ],
    ids=["all", "k-last", "k-last-on-grid", "k", "first-k-last", "k-of-run", "0-k-last", "0-k"],
)
def test_counters_that_start_anew(kept, length, exact, base, with_epoch):
    steps, places, epoch = logged(kept, length, base)
    (run,) = count(places, epoch if with_epoch else None, within_pass=True)
    assert run.steps.tolist() == steps.tolist()
    assert (run.found.length, run.found.first_step) == (length, base)
    assert run.found.exact == exact


def test_a_length_that_the_rows_say_is_exact():
    steps, places, epoch = logged(every(50), 517)
    of = np.full(len(places), 517.0)
    (run,) = count(places, epoch, of=of)
    assert run.steps.tolist() == steps.tolist()
    assert (run.found.length, run.found.first_step) == (517, None)
    (run,) = count(places, epoch, of=of, base=1)
    assert (run.found.first_step, run.found.exact) == (1, True)


def test_a_length_that_the_user_gives_is_exact():
    steps, places, epoch = logged(every(50), 517)
    (run,) = count(places, epoch, given=517)
    assert run.steps.tolist() == steps.tolist()
    assert (run.found.length, run.found.exact) == (517, True)


def test_a_given_length_that_is_too_short_is_not_used_to_count():
    steps, places, epoch = logged(every(50), 500)
    (run,) = count(places, epoch, given=7)
    assert run.steps.tolist() == steps.tolist()


def test_a_fifth_of_the_rows_missing():
    rng = np.random.default_rng(0)
    steps, places, epoch = logged(lambda step, place: rng.random() < 0.8, 60, passes=12)
    for given in (None, epoch):
        (run,) = count(places, given, within_pass=True)
        assert run.steps.tolist() == steps.tolist()


# Runs


def test_steps_that_go_back_to_the_first_begin_a_run():
    runs = count([1, 2, 3, 1, 2, 3, 4, 1])
    assert [run.steps.tolist() for run in runs] == [[1, 2, 3], [1, 2, 3, 4], [1]]
    assert [run.rows.tolist() for run in runs] == [[0, 1, 2], [3, 4, 5, 6], [7]]


def test_a_resume_replaces_all_rows_from_its_step_on():
    (run,) = count([1, 2, 3, 4, 5, 3, 4])
    assert run.rows.tolist() == [0, 1, 5, 6]
    assert run.num_replaced == 3


def test_a_resume_within_a_counter_that_starts_anew():
    places, epoch = [1, 2, 3, 1, 2, 1, 2, 3, 1], [0, 0, 0, 1, 1, 1, 1, 1, 2]
    (run,) = count(places, epoch)
    assert run.steps.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert run.num_replaced == 2


def test_epochs_that_go_back_to_the_first_begin_a_run():
    places, epoch = [1, 2, 3, 1, 2, 3, 1, 2, 3], [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert [run.steps.tolist() for run in count(places, epoch)] == [[1, 2, 3, 4, 5, 6], [1, 2, 3]]


def test_passes_of_another_length_are_another_run():
    lengths = [20, 20, 20, 50, 50, 31, 100]
    places = np.concatenate([np.arange(1, length + 1) for length in lengths])
    runs = count(places, within_pass=True)
    assert [run.found.length for run in runs] == [20, 50, None]
    assert [len(run.rows) for run in runs] == [60, 131, 100]


def test_rows_that_say_another_length_are_another_run():
    of = np.repeat([5.0, 7.0], [10, 14])
    places = np.concatenate([np.tile(np.arange(1, 6), 2), np.tile(np.arange(1, 8), 2)])
    assert [run.found.length for run in count(places, of=of)] == [5, 7]
