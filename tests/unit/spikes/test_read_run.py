"""The runs of this framework, read from their folders."""

import json
import math

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.spikes.explain import explain
from ssd.spikes.read import read_log
from tests.unit.spikes.samples import row


def run_folder(tmp_path, rows, config=None):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    return tmp_path


CONFIG = "loss:\n  divisor: batch_positives_and_size\ntraining:\n  batch_size: 4\n  accumulate: 4\n"


@pytest.mark.parametrize("file", ["", "metrics.jsonl"])
def test_a_run_is_read_from_its_folder_or_its_metrics(tmp_path, file):
    folder = run_folder(tmp_path, [row(step) for step in range(1, 13)], CONFIG)
    log = read_log(folder / file)
    assert log.source == str(folder / file)
    assert log.steps.tolist() == list(range(1, 13))
    assert log.loss[:5].tolist() == [0.5] * 4 + [2.0]
    assert (log.steps_per_epoch, log.first_step, log.batch_size) == (5, 1, 16)
    assert (log.divisor, log.shuffled) == ("batch_positives_and_size", True)
    assert log.columns["clipped"][:5].tolist() == [0, 0, 0, 0, 1]
    assert "momentum_norm" not in log.columns


def test_losses_under_each_divisor_come_from_the_rows(tmp_path):
    under = {"step_positives": 1.0, "batch_positives_and_size": 0.25}
    rows = [row(1, loss_under=under), row(2, loss_under=None), row(3, loss_under=under)]
    losses = read_log(run_folder(tmp_path, rows)).losses_under
    assert losses.keys() == under.keys()
    np.testing.assert_array_equal(losses["step_positives"], [1, math.nan, 1])


def test_an_older_run_knows_its_loss_under_step_positives(tmp_path):
    losses = read_log(run_folder(tmp_path, [row(step) for step in range(1, 6)])).losses_under
    assert losses.keys() == {"step_positives"}
    np.testing.assert_allclose(losses["step_positives"], 8.0)


def test_a_run_with_missing_figures(tmp_path):
    rows = [row(1, loss=None), row(2), {"kind": "eval", "step": 2}, row(3, grad_norm="odd")]
    log = read_log(run_folder(tmp_path, rows))
    np.testing.assert_array_equal(log.loss, [math.nan, 0.5, 0.5])
    np.testing.assert_array_equal(log.columns["grad_norm"], [2, 2, math.nan])
    assert log.divisor is None


def test_numbers_that_no_float_can_hold_are_missing(tmp_path):
    rows = [row(1), row(2, loss=10**400), row(10**30)]
    log = read_log(run_folder(tmp_path, rows))
    assert log.steps.tolist() == [1, 2]
    assert math.isnan(log.loss[1])


def test_a_resumed_run_with_other_steps_per_epoch_knows_where_a_pass_begins(tmp_path):
    rows = [row(step) for step in range(1, 8)]
    rows += [row(8, steps_per_epoch=4, step_in_epoch=0), row(9, steps_per_epoch=4, step_in_epoch=1)]
    log = read_log(run_folder(tmp_path, rows))
    assert log.steps_per_epoch == 4
    assert (8 - log.first_step) % 4 == 0


def test_a_real_spike_is_explained_from_the_folder(tmp_path):
    rng = np.random.default_rng(0)
    rows = [row(step, 20) for step in range(1, 201)]
    for line in rows:
        line["loss"] *= float(np.exp(0.05 * rng.normal()))
        line["divisor"] = line["num_positives"] * line["num_images"]
    found = explain(read_log(run_folder(tmp_path, rows, CONFIG)))
    assert (found.cause, found.spikes.period) == ("short_last_batch", 20)
    assert found.remedy == "step_positives"


def test_what_the_user_gives_wins(tmp_path):
    folder = run_folder(tmp_path, [row(step) for step in range(1, 13)])
    log = read_log(folder, steps_per_epoch=3, batch_size=7)
    assert (log.steps_per_epoch, log.batch_size) == (3, 7)


@pytest.mark.parametrize("config", ["loss: [", "\x00", "[" * 5000])
def test_a_broken_config(tmp_path, config):
    with pytest.raises(UserError, match=r"config\.yaml: is not YAML") as caught:
        read_log(run_folder(tmp_path, [row(1)], config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", ["", "7", "loss: 7", "loss:\n  divisor: other", "loss: {}"])
def test_a_config_that_does_not_say_the_divisor(tmp_path, config):
    assert read_log(run_folder(tmp_path, [row(1)], config)).divisor is None
