from contextlib import closing

import pytest
import torch

from ssd.common.errors import UserError
from ssd.config import LossConfig, TrainingConfig
from ssd.structures import Batch
from ssd.training.log import Log, Position
from ssd.training.step import train_step
from tests.unit.training.tiny import new_state, settings

LAST = "lower optimizer.lr, set training.clip_norm or training.precision fp32"


@pytest.fixture
def run(twelve_images, capsys):
    """Trains with steps that are broken where told; returns the state and what was said."""
    pixels = twelve_images.images.clone()
    pixels[0, 0, 0, 0] = torch.nan
    broken = Batch(pixels, twelve_images.boxes, twelve_images.labels, ["a.jpg", "b.jpg"])

    def train(pattern, log_every, most=3):
        state = new_state()
        training = TrainingConfig(log_every=log_every, max_skipped=most)
        said = []
        log = Log(None, state, training, LossConfig())
        log._skipped._say = said.append
        with closing(log):
            for number, is_broken in enumerate(pattern):
                batch = broken if is_broken else twelve_images
                figures = train_step(state, [batch], settings(state))
                state.step += 1
                log.step(Position(state.step, 0, number, 99), figures, 0.0, batch.image_ids)
        return state, said

    return train


def test_a_skipped_step_is_told_with_its_images_when_it_is_logged(run):
    state, said = run([False, True, False, False], log_every=4)
    assert len(said) == 1
    assert said[0].startswith("step 2 skipped because its gradient is not finite: class loss nan")
    assert said[0].endswith("images a.jpg, b.jpg")
    assert (state.skipped_in_row, int(state.updates)) == (0, 3)


@pytest.mark.parametrize(("log_every", "taken"), [(1, 4), (2, 4), (3, 6), (5, 5)])
def test_training_ends_at_the_first_log_after_too_many_in_a_row(run, log_every, taken):
    """Steps 2 to 4 are the three in a row; the one after them is finite."""
    pattern = [False, True, True, True, False, True, False]
    with pytest.raises(UserError, match=rf"3 steps in a row .* at step 4; .* {LAST}") as told:
        run(pattern, log_every)
    frame = next(entry for entry in told.traceback if entry.name == "train")
    assert frame.frame.f_locals["state"].step == taken


def test_the_count_goes_on_over_logs_and_restarts_after_an_update(run):
    state, said = run([True, True, False, True, True], log_every=1)
    assert len(said) == 4
    assert state.skipped_in_row == 2
    state, _ = run([True, False, True, True], log_every=2)
    assert state.skipped_in_row == 2
