"""Reads a few lines of each format, as its program writes them."""

import json

import numpy as np
import pytest

from ssd.spikes.read import read_log
from tests.unit.spikes.samples import READ, TEXTS, trainer_state, written


@pytest.mark.parametrize("name", READ)
def test_a_format(tmp_path, name):
    content, steps, losses, length, first, window, exact = READ[name]
    log = read_log(written(tmp_path, content))
    assert log.steps.tolist() == list(steps)
    assert losses is None or log.loss.tolist() == list(losses)
    assert (log.steps_per_epoch, log.first_step) == (length, first)
    assert (log.window, log.exact, log.run) == (window, exact, "")


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_log(tmp_path, name):
    line, places, (length, first, window) = TEXTS[name]
    losses = [round(5 - 0.5 * n, 1) for n in range(len(places))]
    rows = [line.format(e=e, i=i, x=x) for (e, i), x in zip(places, losses, strict=True)]
    log = read_log(written(tmp_path, "Namespace(lr=0.1)\n\n" + "\n".join(rows)))
    least = places[0][0]
    assert log.steps.tolist() == [(e - least) * (length or 0) + i for e, i in places]
    assert log.loss.tolist() == losses
    assert (log.steps_per_epoch, log.first_step, log.window) == (length, first, window)


def test_other_columns_come_with_their_rows(tmp_path):
    log = read_log(written(tmp_path, trainer_state()))
    assert set(log.columns) == {"epoch", "lr"}
    assert log.batch_size is None


def test_lines_of_json_that_hold_nan_or_are_cut_off(tmp_path):
    text = '{"step": 1, "loss": 1.0}\n{"step": 2, "loss": NaN}\n{"step": 3, "loss": 1'
    log = read_log(written(tmp_path, text))
    np.testing.assert_array_equal(log.loss, [1, np.nan])


def test_a_list_of_objects(tmp_path):
    rows = [{"global_step": step, "train/loss": 1 / step} for step in (1, 2, 3)]
    assert read_log(written(tmp_path, json.dumps(rows, indent=1))).steps.tolist() == [1, 2, 3]
