"""The length of a run, and the line that tells how long it takes."""

from dataclasses import replace

import pytest

from ssd.config import EvaluationConfig, TrainingConfig
from ssd.steps import StepRow
from ssd.training.length import Length, closing_epoch, length_of
from ssd.training.pace import Pace


@pytest.mark.parametrize(
    ("settings", "steps_per_epoch", "length"),
    [
        ({"epochs": 100}, 7, Length(700, 10)),
        ({"epochs": 100, "min_steps": 700}, 7, Length(700, 10)),
        ({"epochs": 100, "min_steps": 701}, 7, Length(707, 11, is_extended=True)),
        ({"epochs": 100, "min_steps": 4000}, 7, Length(572 * 7, 58, is_extended=True)),
        ({"epochs": 100, "min_steps": 4000}, 500, Length(50_000, 10)),
        ({"epochs": 100, "min_steps": 4000, "steps": 30}, 7, Length(30, 10)),
    ],
)
def test_a_small_set_is_passed_over_more_often(settings, steps_per_epoch, length):
    evaluation = EvaluationConfig(every_epochs=10)
    assert length_of(TrainingConfig(**settings), evaluation, steps_per_epoch) == length


def test_a_run_that_evaluates_only_at_its_end_still_does():
    training = TrainingConfig(epochs=10, min_steps=1000)
    assert length_of(training, EvaluationConfig(every_epochs=0), 5).evaluate_every == 0


@pytest.mark.parametrize(
    ("share", "last_step", "first"),
    [
        (0, 700, None),
        (0.15, 700, 85),
        (1, 700, 0),
        (1, 3, 0),
        (0.2, 163 * 7, 130),  # of epochs 130.4
        (0.9, 70, 1),  # (1 - 0.9) * 10 is a little less than 1
        (0.2, 73, 8),  # 8.3, and the run ends amid an epoch
        (0.5, 8, 1),  # its second epoch has one step
        (0.99, 70, 1),  # never the first epoch
        (0.2, 3, None),  # less than an epoch
        (0.2, 7, None),
        (0.01, 70, None),  # nearest is the end
    ],
)
def test_the_closing_epochs_are_the_last_ones(share, last_step, first):
    assert closing_epoch(share, last_step, 7) == first


ROW = StepRow(
    *(1, 0, 0, 7, 1.0, 1.0, 0.0, 8, 16, 8.0, 0.1, 1.0, 1.0, False, False), 8.0, 0.0, loss_under={}
)


def rows(first, last, images_per_second):
    return [
        replace(ROW, step=step, images_per_second=images_per_second)
        for step in range(first, last + 1)
    ]


def test_the_time_is_told_once_by_the_steps_after_the_first_rows():
    pace = Pace(last_step=1000)
    assert pace.take(rows(1, 5, 0.1)) is None  # slower: what is done once
    assert pace.take(rows(6, 10, 8.0)) is None
    # 5 steps of 2 s and 5 of 4 s: 3 s a step, for 985 steps.
    assert pace.take(rows(11, 15, 4.0)) == (
        "about 49 minutes for the 985 steps left, without the evaluations"
    )
    assert pace.take(rows(16, 20, 4.0)) is None


def test_a_short_training_does_without_the_line():
    pace = Pace(last_step=30)
    assert [pace.take(rows(first, first + 9, 16.0)) for first in (1, 11, 21)] == [None] * 3
