"""The watch speaks once of a loss that spikes with the epoch, and is quiet otherwise."""

import re
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.config import DIVISORS, LossConfig
from ssd.run.rows import format_row
from ssd.spikes.watch import RunWatch, SpikeWatch
from ssd.steps import EvaluationRow
from ssd.training.writer import RunWriter

FULL, REST, LENGTH = 16, 4, 21


@pytest.fixture(scope="module")
def rows(step_row):
    """A run with a short last step, of a loss around 6 with noise as an SSD's has it."""

    def rows_of(passes, divisor, seed=0, rest_noise=0.15):
        rng = np.random.default_rng(seed)
        for index in range(passes * LENGTH):
            epoch, place = divmod(index, LENGTH)
            images = REST if place == LENGTH - 1 else FULL
            noise = rest_noise if images == REST else 0.15
            per_positive = 6 * (1 + 3 / (1 + index / 20)) * np.exp(noise * rng.normal())
            positives = 10 * images
            under = dict.fromkeys(DIVISORS, per_positive)
            under["batch_positives_and_size"] = per_positive / images
            yield step_row(
                step=index + 1,
                epoch=epoch,
                step_in_epoch=place,
                steps_per_epoch=LENGTH,
                loss=under[divisor],
                num_images=images,
                num_positives=positives,
                divisor=positives * per_positive / under[divisor],
                lr=0.1,
                grad_norm=under[divisor],
                loss_under=under,
            )

    return rows_of


@pytest.mark.parametrize("seed", range(5))
def test_it_speaks_at_the_end_of_the_third_pass_and_never_again(tmp_path, rows, seed):
    divisor = "batch_positives_and_size"
    watch = RunWatch(tmp_path / "run", LossConfig(divisor=divisor))
    told = [(row.step, watch.take(row)) for row in rows(30, divisor, seed)]
    ((step, sentence),) = [(step, text) for step, text in told if text is not None]
    assert step == 3 * LENGTH
    assert "every 21 steps" in sentence
    assert "4 images instead of 16" in sentence
    assert "4 times too large" in sentence
    assert f"--explain {tmp_path / 'run'}" in sentence
    assert "step_positives" in sentence


@pytest.mark.parametrize("rest_noise", [0.15, 0.4])
@pytest.mark.parametrize("divisor", ["step_positives", "rank_positives", "image_positives"])
def test_it_is_quiet_on_a_sound_run_even_if_the_short_step_is_noisy(
    tmp_path, rows, divisor, rest_noise
):
    for seed in range(20):
        watch = RunWatch(tmp_path, LossConfig(divisor=divisor))
        told = [watch.take(row) for row in rows(60, divisor, seed, rest_noise)]
        assert told == [None] * len(told)


@pytest.mark.parametrize("divisor", ["step_positives", "rank_positives"])
def test_it_is_quiet_where_one_image_is_left_over_and_images_differ_widely(tmp_path, rows, divisor):
    """The loss of an image is not in proportion to its positives, nor are these alike.

    The weight of that image is another finding, and is told where it is not known to be right.
    """
    alarms = heavy = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        watch = RunWatch(tmp_path, LossConfig(divisor=divisor))
        for row in rows(40, divisor, seed):
            images = 1 if row.num_images == REST else FULL
            positives = np.ceil(8 * np.exp(0.8 * rng.normal(size=images)))
            losses = (4 * positives + 20) * np.exp(0.2 * rng.normal(size=images))
            mean = losses.sum() / positives.sum()
            under = {
                "step_positives": mean,
                "rank_positives": mean,
                "image_positives": (losses / positives).mean(),
                "batch_positives_and_size": mean / images,
            }
            count = int(positives.sum())
            figures = {"num_images": images, "num_positives": count, "divisor": float(count)}
            told = watch.take(replace(row, **figures, loss=mean, loss_under=under)) or ""
            alarms += "The loss spikes" in told
            heavy += "counts 16 times as much as any other" in told
    assert alarms <= 1
    assert heavy == (0 if divisor == "step_positives" else 10)


def test_it_tells_that_the_images_of_a_short_step_count_too_much(tmp_path, rows):
    """At B / r = 16, and not where the step is weighted, clipped, or not much shorter."""

    def said(loss, images=1, clipped=False):
        watch = RunWatch(tmp_path, loss)
        for row in rows(5, "step_positives"):
            short = row.num_images == REST
            changes = {"num_images": images, "grad_norm": 4 * row.grad_norm} if short else {}
            yield watch.take(replace(row, clipped=clipped and short, **changes))

    in_full = LossConfig(short_step="full")
    (told,) = filter(None, said(in_full))
    assert "is short, of 1 instead of 16 images: each image of it counts 16 times as much" in told
    assert "loss.short_step share" in told
    assert not any(said(LossConfig()))
    assert not any(said(in_full, images=REST))
    assert not any(said(in_full, clipped=True))


def test_it_forgets_the_passes_of_long_ago(tmp_path, rows):
    watch = RunWatch(tmp_path, LossConfig(divisor="step_positives"))
    for row in rows(40, "step_positives"):
        watch.take(row)
    defect = "batch_positives_and_size"
    told = [watch.take(replace(row, step=row.step + 40 * LENGTH)) for row in rows(12, defect)]
    assert any(told)


def test_a_resumed_run_is_judged_by_what_came_before_too(tmp_path, rows):
    divisor = "batch_positives_and_size"
    *before, last = rows(3, divisor)
    watch = RunWatch(tmp_path, LossConfig(divisor=divisor), before)
    assert watch.take(last) is not None


def test_a_run_that_goes_on_shows_it_the_steps_before_and_no_evaluation(tmp_path, rows, capfd):
    divisor = "batch_positives_and_size"
    *before, last = rows(3, divisor)
    lines = [format_row(row) for row in before]
    lines.insert(42, format_row(EvaluationRow(42, 1, "voc07", 0.5, {"cat": 0.5})))
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(lines))
    writer = RunWriter(tmp_path, last.step - 1, last.step, True, LossConfig(divisor=divisor))
    with closing(writer):
        writer.steps([last])
    assert "warning: " in capfd.readouterr().out


def test_passes_too_short_to_judge_are_left_alone(tmp_path, rows):
    watch = RunWatch(tmp_path, LossConfig(divisor="step_positives"))
    for row in rows(10, "step_positives"):
        assert watch.take(replace(row, steps_per_epoch=1, step_in_epoch=0)) is None


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_a_watch_on_losses_alone_speaks_once(rows, seed, first):
    watch = SpikeWatch(LENGTH, batch_size=FULL)
    told = [
        (row.step, watch(row.step - 1 + first, row.loss))
        for row in rows(20, "batch_positives_and_size", seed)
    ]
    ((step, sentence),) = [(step, text) for step, text in told if text is not None]
    assert step == 3 * LENGTH
    assert "every 21 steps" in sentence
    assert "last step of each pass" in sentence
    assert re.search(r"about [345] images", sentence)


def test_a_watch_on_losses_alone_is_quiet_on_a_sound_run(rows):
    for seed in range(20):
        watch = SpikeWatch(LENGTH)
        assert [watch(row.step, row.loss) for row in rows(40, "step_positives", seed)] == [None] * (
            40 * LENGTH
        )


@pytest.mark.parametrize("start", [0, 1, 100, 101])
def test_a_watch_knows_the_pass_however_long_it_has_looked(start):
    watch = SpikeWatch(np.int64(20), 16)
    rng = np.random.default_rng(start)
    told = [
        watch(start + step, 1 + 0.05 * rng.random() + 8 * (step > 300 and step % 20 == 19))
        for step in range(800)
    ]
    (sentence,) = filter(None, told)
    assert "at the last step of each pass" in sentence
    assert "short last batch" in sentence


def test_a_watch_forgets_the_steps_that_are_taken_again(rows):
    losses = [row.loss for row in rows(20, "batch_positives_and_size")]
    watch = SpikeWatch(LENGTH, FULL)
    once = [watch(step, losses[step]) for step in range(2 * LENGTH)]
    again = [watch(step, losses[step]) for step in range(LENGTH + 5, 20 * LENGTH)]
    assert not any(once)
    assert sum(map(bool, again)) == 1
    within = SpikeWatch(LENGTH)  # counts the steps of each pass anew: it cannot know
    assert not any(within(step % LENGTH, loss) for step, loss in enumerate(losses))
    with pytest.raises(UserError, match="at least 1"):
        SpikeWatch(0)
