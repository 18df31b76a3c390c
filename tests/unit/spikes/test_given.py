import numpy as np
import pytest

import ssd
from ssd.common.errors import UserError
from ssd.spikes.given import log_of_losses

STEPS = np.arange(1, 201)


def test_losses_alone_are_those_of_every_step():
    log = log_of_losses([3, 2, 1], steps_per_epoch=2, batch_size=4)
    assert log.steps.tolist() == [1, 2, 3]
    assert (log.steps_per_epoch, log.first_step, log.batch_size) == (2, 1, 4)


def test_steps_that_start_anew_are_counted_through():
    log = log_of_losses(np.ones(200), (STEPS - 1) % 20 + 1, (STEPS - 1) // 20)
    assert log.steps.tolist() == STEPS.tolist()
    assert (log.steps_per_epoch, log.first_step, log.exact) == (20, 1, True)


def test_fractional_epochs_give_the_length_of_a_pass():
    log = log_of_losses(np.ones(200), epochs=STEPS / 40)
    assert (log.steps_per_epoch, log.first_step, log.exact) == (40, 1, True)


def test_a_missing_loss_keeps_its_step():
    assert np.isnan(log_of_losses([1, np.nan, 2]).loss[1])


def test_the_same_from_the_package():
    losses = np.where(STEPS % 20 == 0, 16.0, 1 + 0.1 * (STEPS % 7))
    every = STEPS % 5 == 0
    place, epoch = (STEPS - 1) % 20 + 1, (STEPS - 1) // 20
    found = ssd.explain(losses[every], steps=place[every], epochs=epoch[every])
    assert (found.cause, found.spikes.period) == ("short_last_batch", 20)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"losses": []}, "at least one"),
        ({"losses": [[1, 2]]}, "at least one"),
        ({"losses": [1, 2], "steps": [1]}, "one step for each loss"),
        ({"losses": [1, 2], "epochs": [1, 2, 3]}, "one epoch for each loss"),
        ({"losses": [1, 2], "steps": [2, 2]}, "do not rise"),
        ({"losses": [1, 2, 3], "steps": [1, 2, 1]}, "do not rise"),
        ({"losses": [1, 2], "steps": [1, np.nan]}, "do not rise"),
    ],
)
def test_mistakes(given, words):
    with pytest.raises(UserError, match=words):
        log_of_losses(**given)
