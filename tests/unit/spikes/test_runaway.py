"""The watch speaks once of a loss that runs away, and of no spike."""

import math

import numpy as np
import pytest

from ssd.spikes.runaway import GUESSING, STEPS, TIMES, RunawayWatch


@pytest.fixture
def rows(step_row):
    """Rows of steps with these losses for each positive, whatever the step is divided by."""

    def rows_of(losses, box_weight=1.0):
        for step, loss in enumerate(losses, 1):
            positives = 10 + step % 7
            yield step_row(
                step=step,
                loss=loss * positives / 300,  # batch_positives_and_size, or any other divisor
                class_loss_sum=0.75 * loss * positives,
                box_loss_sum=0.25 * loss * positives / box_weight,
                num_positives=positives,
            )

    return rows_of


def told(watch, rows):
    return [row.step for row in rows if watch.take(row) is not None]


def falling(count, start=20.0):
    """The loss of a sound run, with noise."""
    rng = np.random.default_rng(0)
    return [start / (1 + step / 30) * math.exp(0.15 * rng.normal()) for step in range(count)]


def test_a_sound_run_and_its_spikes_are_no_news(rows):
    losses = falling(400)
    assert told(RunawayWatch(1.0), rows(losses)) == []
    for step in range(21, 400, 22):  # a spike of a hundred times at the end of every pass
        losses[step] *= 100
        for after in range(1, STEPS // 2 - 1):  # and its aftermath, as high for a while
            losses[min(step + after, 399)] = 1000.0
    assert told(RunawayWatch(1.0), rows(losses)) == []


def test_a_loss_that_grows_is_told_once_while_it_is_finite(rows):
    losses = [20.0 * 1.03**step for step in range(200)]
    watch = RunawayWatch(1.0)
    (step,) = told(watch, rows(losses))
    above = (np.median(losses[end - STEPS : end]) > 20 * TIMES for end in range(STEPS, 200))
    assert step == STEPS + next(index for index, is_above in enumerate(above) if is_above)
    assert "when the run began. Lower optimizer.lr" in watch.warning
    assert "but 20 when" in watch.warning


@pytest.mark.parametrize("rate", [2.99, 3.01])
def test_the_limit_is_three_times_the_first_step(rows, rate):
    losses = [20.0] + [rate * 20.0] * STEPS
    assert told(RunawayWatch(2.0), rows(losses, box_weight=2.0)) == ([STEPS] if rate > 3 else [])


def test_a_run_of_trained_weights_may_forget_them(rows):
    """It then guesses, which a small loss at the first step does not make too much."""
    assert told(RunawayWatch(1.0), rows([1.5] * 30 + [2.9 * GUESSING] * 100)) == []
    assert told(RunawayWatch(1.0), rows([1.5] * 30 + [3.1 * GUESSING] * 100)) == [41]


def test_a_loss_that_has_run_away_at_once_is_told(rows):
    assert told(RunawayWatch(1.0), rows([20.0] + [1e9] * 30)) == [STEPS]


def test_steps_that_tell_nothing_are_left_out(rows, step_row):
    nothing = step_row(step=1, class_loss_sum=1e9, box_loss_sum=0.0, num_positives=0)
    skipped = step_row(step=1, class_loss_sum=math.nan, box_loss_sum=1.0, num_positives=9)
    old = step_row(step=1, class_loss_sum=1e9, box_loss_sum=1.0, num_positives=None)
    watch = RunawayWatch(1.0)
    assert [watch.take(row) for row in [nothing, skipped, old] * STEPS] == [None] * 3 * STEPS
    assert told(watch, rows([20.0] * 100)) == []


def test_a_resumed_run_knows_its_first_step_and_speaks_again(rows):
    before = list(rows([20.0, *[1e3] * 50]))
    watch = RunawayWatch(1.0, before)
    assert "has run away" in watch.warning
    assert told(watch, list(rows([1e3] * 60))[51:]) == [52]
    recovered = RunawayWatch(1.0, [*before, *list(rows([5.0] * 91))[51:]])
    assert told(recovered, list(rows([5.0] * 120))[91:]) == []
    assert recovered.warning
