import json
from contextlib import closing

import torch

from ssd.config import DIVISORS, LossConfig, TrainingConfig
from ssd.steps import StepFigures, StepSums
from ssd.training.log import Log, Position
from ssd.training.writer import RunWriter
from tests.unit.training.tiny import new_state

LOSS = LossConfig(box_weight=2.0)
FIGURE_LR = torch.tensor(0.1, dtype=torch.float64)


def figures(loss, norm=2.0, skipped=False):
    counted = map(torch.tensor, (20.0, 20.0, 30.0, 8.0, 240.0))
    losses = map(torch.tensor, (loss, 5.0, 6.0, 7.0))
    sums = StepSums(*counted, dict(zip(DIVISORS, losses, strict=True)))
    momentum_norm = torch.tensor(float("nan"))
    return StepFigures(sums, torch.tensor(norm), momentum_norm, FIGURE_LR, torch.tensor(skipped))


def log_of(folder, first_step, last_step, log_every, clip_norm=None):
    training = TrainingConfig(log_every=log_every, clip_norm=clip_norm)
    writer = RunWriter(folder, first_step, last_step, True, LOSS)
    return closing(Log(writer, new_state(), training, LOSS))


def read(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_rows_are_written_at_the_logging_cadence_and_at_the_end(tmp_path):
    with log_of(tmp_path, 0, 5, log_every=3, clip_norm=1.5) as log:
        for step in range(1, 6):
            log.step(Position(step, 0, step - 1, 5), figures(2.0), data_wait=0.01, images=[])
            assert len(read(tmp_path)) == step // 3 * 3
    rows = read(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    row = rows[0]
    assert row["divisor"] == 30.0
    assert (row["class_loss_sum"], row["box_loss_sum"]) == (20.0, 20.0)
    assert (row["num_positives"], row["num_images"]) == (30, 8)
    assert row["clipped"] is True
    assert row["momentum_norm"] is None
    assert row["loss"] == 2.0
    losses = zip(DIVISORS, [2.0, 5.0, 6.0, 7.0], strict=True)
    assert list(row["loss_under"].items()) == list(losses)
    assert row["data_wait_seconds"] == 0.01
    assert row["images_per_second"] > 0


def test_a_number_that_json_lacks_is_null(tmp_path):
    with log_of(tmp_path, 0, 1, log_every=1) as log:
        broken = figures(float("nan"), norm=float("inf"), skipped=True)
        log.step(Position(1, 0, 0, 5), broken, data_wait=0.0, images=[])
    (row,) = read(tmp_path)
    assert row["loss"] is None
    assert row["grad_norm"] is None
    assert row["skipped"] is True


def test_a_resumed_run_repeats_no_row(tmp_path):
    with log_of(tmp_path, 0, 4, log_every=1) as log:
        for step in range(1, 5):
            log.step(Position(step, 0, step - 1, 5), figures(float(step)), data_wait=0.0, images=[])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    with log_of(tmp_path, 2, 4, log_every=1) as log:
        log.step(Position(3, 0, 2, 5), figures(33.0), data_wait=0.0, images=[])
    assert [row["loss"] for row in read(tmp_path)] == [1.0, 2.0, 33.0]
