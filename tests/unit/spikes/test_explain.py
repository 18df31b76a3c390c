import json
import math
from dataclasses import replace

import numpy as np
import pytest

from ssd.spikes.detect import CERTAIN
from ssd.spikes.explain import as_json, explain
from ssd.spikes.log import Log

BATCH = 16


def make_log(passes=12, length=25, place=None, factor=4.0, tail=(), noise=0.08, seed=0, **known):
    """A falling noisy loss; at `place` of each pass it is `factor` times as high, then `tail`."""
    rng = np.random.default_rng(seed)
    rows = passes * length
    loss = (3 + 6 * np.exp(-np.arange(rows) / (rows / 4))) * np.exp(noise * rng.normal(size=rows))
    if place is not None:
        for offset, height in enumerate((factor, *tail)):
            at = np.arange(place + offset, rows, length)
            loss[at] *= height
    known = {"steps_per_epoch": length, "first_step": 1, **known}
    return Log("made", np.arange(1, rows + 1), loss, **known)


def images(log, last, usual=BATCH):
    """The images of each step when the last one of a pass has `last`."""
    closes = (log.steps - log.first_step) % log.steps_per_epoch == log.steps_per_epoch - 1
    return np.where(closes, float(last), float(usual))


def short_log(divisor="batch_positives_and_size", last=4, **known):
    """As a run of this framework leaves it, with the loss under each divisor."""
    log = make_log(place=24, factor=BATCH / last, **known)
    num_images = images(log, last)
    positives = 20 * num_images
    honest = log.loss * num_images / BATCH
    under = {
        "step_positives": honest,
        "rank_positives": honest,
        "image_positives": honest,
        "batch_positives_and_size": log.loss,
    }
    columns = {
        "num_images": num_images,
        "num_positives": positives,
        "divisor": positives * num_images,
        "lr": np.full(len(honest), 0.01),
    }
    return replace(
        log,
        columns=columns,
        losses_under=under,
        batch_size=BATCH,
        divisor=divisor,
        shuffled=True,
    )


# The short last batch


def test_a_short_last_batch_is_told_with_all_its_numbers():
    found = explain(short_log())
    assert found.cause == "short_last_batch"
    assert "every 25 steps, at the last step of each pass" in found.sentence
    assert "4 images instead of 16" in found.sentence
    assert "4 times too large" in found.sentence
    assert "p < 1e-6" in found.sentence
    assert found.remedy == "step_positives"
    assert "loss.divisor step_positives" in found.advice
    assert found.divisor == "batch_positives_and_size"
    assert found.spikes.period == 25
    assert found.ratio_under["step_positives"] == pytest.approx(1, abs=0.1)
    assert found.ratio_under["batch_positives_and_size"] == pytest.approx(4, rel=0.1)


def test_the_ratio_under_the_runs_divisor_is_that_of_its_loss():
    found = explain(short_log())
    ratio = found.ratio_under["batch_positives_and_size"]
    assert ratio == pytest.approx(found.spikes.ratio, rel=0.05)


def test_an_honest_run_with_a_short_last_step_is_healthy():
    log = short_log("step_positives")
    found = explain(replace(log, loss=log.losses_under["step_positives"]))
    assert (found.cause, found.spikes, found.remedy) == ("none", None, None)
    assert "short steps, of 4 images instead of 16, stand at 0.994 times" in found.sentence


def test_a_short_step_that_is_only_noisier_is_healthy():
    for seed in range(12):
        rng = np.random.default_rng(seed)
        log = make_log(passes=100, length=19, seed=seed)
        loss = log.loss.copy()
        loss[18::19] *= np.exp(0.7 * rng.normal(size=100))
        assert explain(replace(log, loss=loss)).cause == "none"


@pytest.mark.parametrize("every", [2, 3, 4, 10])
def test_a_spike_in_every_nth_pass_is_found(every):
    log = make_log(passes=10, length=19 * every, place=19 * every - 2, steps_per_epoch=19)
    found = explain(log)
    assert (found.cause, found.spikes.period) == ("unknown", 19 * every)
    assert "not come once per pass" in found.sentence


def test_a_noisy_short_step_of_unknown_place_is_no_spike():
    alarms = 0
    for seed in range(20):
        log = make_log(passes=100, length=19, seed=seed, steps_per_epoch=None)
        loss = log.loss.copy()
        loss[18::19] *= np.exp(0.5 * np.random.default_rng(seed).normal(size=100))
        alarms += explain(replace(log, loss=loss)).cause != "none"
    assert alarms <= 1


def test_a_pass_given_without_its_short_step_is_pointed_out():
    found = explain(make_log(place=24, steps_per_epoch=24))
    assert found.cause == "unknown"
    assert found.advice == "Look again with 25 steps per epoch."


def test_a_run_that_diverged_is_judged_by_what_came_before():
    log = make_log(place=24)
    loss = np.append(log.loss, np.full(700, np.nan))
    found = explain(replace(log, steps=np.arange(1, 1001), loss=loss))
    assert (found.cause, found.spikes.period) == ("short_last_batch", 25)
    assert "From step 301 on, the loss is not finite." in found.sentence


def test_a_run_that_diverged_at_once_is_too_short():
    loss = np.append(make_log(passes=2).loss, np.full(50, np.nan))
    found = explain(Log("made", np.arange(1, 101), loss, steps_per_epoch=25))
    assert found.cause == "too_short"
    assert "2 passes" in found.sentence
    assert "From step 51 on" in found.sentence


def test_a_log_whose_start_is_missing_blames_no_images():
    log = make_log(place=24, first_step=None)
    assert explain(replace(log, steps=log.steps + 77)).cause == "unknown"


@pytest.mark.parametrize("extra", [1, 3001])
def test_one_row_beside_the_others_does_no_harm(extra):
    steps = np.arange(10, 3010, 10)
    loss = make_log(passes=12, length=25, place=24).loss
    row = int(np.searchsorted(steps, extra))
    log = Log("every 10th", np.insert(steps, row, extra), np.insert(loss, row, 3.0))
    assert explain(log).spikes.period == 250


def test_a_batch_size_that_changes_in_between_is_compared_with_its_surroundings():
    log = short_log()
    grows = np.where(log.steps > 150, 2.0, 1.0)
    columns = {"num_images": log.columns["num_images"] * grows}
    found = explain(replace(log, columns=columns, losses_under={}))
    assert "which fits what is seen" in found.sentence


def test_a_learning_rate_that_jumps_at_the_last_step_leaves_the_cause_open():
    log = make_log(place=24)
    lr = 0.1 * (1.1 + np.cos(np.pi * (log.steps % 25) / 25))
    found = explain(replace(log, columns={"lr": lr}))
    assert found.cause == "unknown"
    assert "short" in found.sentence
    assert "schedule restarts" in found.sentence


def test_with_accumulation_the_factor_is_that_of_the_divisors_in_the_log():
    log = short_log()
    columns = dict(log.columns)
    per_positive = np.where(columns["num_images"] < BATCH, 1.6, 4.0)  # 5 images as 4 + 1
    columns["divisor"] = columns["num_positives"] * per_positive
    found = explain(replace(log, columns=columns))
    assert "2.5 times too large" in found.sentence


def test_few_images_that_are_divided_rightly_but_raised_are_not_blamed_on_the_division():
    log = short_log("step_positives")
    columns = {**log.columns, "divisor": log.columns["num_positives"]}
    found = explain(replace(log, columns=columns, losses_under={"step_positives": log.loss}))
    assert found.cause == "short_last_batch"
    assert "divided like that of every step" in found.sentence
    assert found.remedy is None
    assert "drop_last" in found.advice


@pytest.mark.parametrize(
    ("factor", "words"),
    [(4.0, "which fits what is seen"), (1.8, "which is not quite what is seen")],
)
def test_a_foreign_log_with_images_compares_the_height_with_the_remainder(factor, words):
    log = make_log(place=24, factor=factor)
    log = replace(log, columns={"num_images": images(log, 4)}, batch_size=BATCH)
    found = explain(log)
    assert found.cause == "short_last_batch"
    assert f"4 times too large there, {words}" in found.sentence


def test_without_images_the_last_step_is_an_inference_and_says_so():
    found = explain(make_log(place=24, factor=8, batch_size=BATCH))
    assert found.cause == "short_last_batch"
    assert "about 2 images" in found.sentence
    assert "inferred" in found.sentence
    assert "drop_last" in found.advice
    assert found.remedy is None


def test_a_bare_column_that_begins_with_a_pass_suggests_the_short_last_batch():
    log = make_log(place=24)
    bare = Log("column", log.steps - 1, log.loss, first_step=0)
    found = explain(bare)
    assert found.cause == "short_last_batch"
    assert "If a pass has 25 steps" in found.sentence


def test_a_bare_column_with_a_spike_anywhere_is_unknown_and_asks_for_more():
    log = make_log(place=11)
    found = explain(Log("column", log.steps - 1, log.loss, first_step=0))
    assert found.cause == "unknown"
    assert found.spikes.period == 25
    assert "steps per epoch" in found.advice


def test_a_log_that_begins_later_does_not_say_where_a_pass_begins():
    log = make_log(place=24)
    found = explain(Log("cut", log.steps[130:], log.loss[130:]))
    assert found.cause == "unknown"


def test_the_clipped_gradient_and_the_aftershock_are_told():
    log = short_log()
    spiked = log.columns["num_images"] < BATCH
    rng = np.random.default_rng(1)
    norm = np.exp(0.02 * rng.normal(size=len(spiked)))
    momentum = norm.copy()
    for step in np.flatnonzero(spiked):
        momentum[step : step + 6] *= 1 + 2 * 0.8 ** np.arange(len(momentum[step : step + 6]))
    columns = {
        **log.columns,
        "clipped": spiked.astype(float),
        "grad_norm": np.where(spiked, 4 * norm, norm),
        "momentum_norm": momentum,
    }
    found = explain(replace(log, columns=columns))
    assert found.aftershock == {"loss": 0, "grad_norm": 0, "momentum_norm": 5}
    assert "The gradient was clipped there" in found.sentence
    assert "The momentum stays raised for 5 steps" in found.sentence


# The other causes


def lr_of_restarts(log):
    place = (log.steps - 1) % log.steps_per_epoch / log.steps_per_epoch
    return 0.001 + 0.05 * (1 + np.cos(np.pi * place))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_restarts_of_the_learning_rate(place):
    log = make_log(place=place, tail=(2.0, 1.5, 1.2))
    found = explain(replace(log, columns={"lr": lr_of_restarts(log)}))
    assert found.cause == "lr_schedule"
    assert "jumps from 0.00" in found.sentence


def test_a_jump_of_the_learning_rate_elsewhere_in_the_pass_explains_nothing():
    log = make_log(place=12)
    found = explain(replace(log, columns={"lr": lr_of_restarts(log)}))
    assert found.cause == "fixed_sample"


def test_a_reset_at_the_start_of_the_pass_decays_without_a_jump_of_the_learning_rate():
    log = make_log(place=0, tail=(3.0, 2.2, 1.7, 1.4, 1.2))
    found = explain(replace(log, columns={"lr": np.full(len(log.loss), 0.01)}))
    assert found.cause == "epoch_reset"
    assert "at the first step of each pass" in found.sentence


def test_the_start_of_the_pass_without_a_learning_rate_names_both_causes():
    found = explain(make_log(place=0, tail=(2.5, 1.6), shuffled=True))
    assert found.cause == "unknown"
    assert "reset" in found.sentence
    assert "learning rate restarts" in found.sentence
    assert "log the learning rate" in found.advice.lower()


def test_a_single_high_first_step_may_also_be_the_first_images():
    log = make_log(place=0)
    constant = {"lr": np.full(len(log.loss), 0.01)}
    found = explain(replace(log, columns=constant))
    assert found.cause == "unknown"
    assert "not shuffled" in found.sentence
    assert explain(replace(log, columns=constant, shuffled=True)).cause == "epoch_reset"


def test_a_bad_sample_is_named_by_its_images():
    found = explain(make_log(place=5, batch_size=BATCH, shuffled=False))
    assert found.cause == "fixed_sample"
    assert "at step 6 of each pass" in found.sentence
    assert "images 81 to 96" in found.sentence


def test_a_bad_sample_in_a_full_last_step():
    log = make_log(place=24, shuffled=False)
    found = explain(replace(log, columns={"num_images": images(log, BATCH)}))
    assert found.cause == "fixed_sample"
    assert "at the last step" in found.sentence


@pytest.mark.parametrize("place", [5, 24])
def test_a_fixed_sample_is_impossible_in_an_order_drawn_anew(place):
    log = make_log(place=place, shuffled=True)
    found = explain(replace(log, columns={"num_images": images(log, BATCH)}))
    assert found.cause == "unknown"
    assert "shuffled anew" in found.sentence


def test_a_rhythm_that_is_not_the_pass():
    log = make_log(passes=20, length=30, place=11, steps_per_epoch=77)
    found = explain(log)
    assert found.cause == "unknown"
    assert "every 30 steps" in found.sentence
    assert "a pass has 77 steps" in found.sentence


def test_twice_per_pass_is_not_once_per_pass():
    log = make_log(passes=24, length=20, place=19, steps_per_epoch=40)
    found = explain(log)
    assert found.spikes.period == 20
    assert found.cause == "unknown"


def test_the_running_mean_that_keras_shows_is_no_spike():
    """It falls through each pass and starts anew lower: a saw-tooth that never stands above."""
    rng = np.random.default_rng(0)
    rows, length = 12 * 50, 50
    loss = 8 * np.exp(-np.arange(rows) / 60) + 1 + 0.1 * rng.normal(size=rows)
    passes = loss.reshape(-1, length)
    shown = (np.cumsum(passes, 1) / np.arange(1, length + 1)).ravel()
    found = explain(Log("keras", np.arange(rows), shown, steps_per_epoch=length, first_step=0))
    assert (found.cause, found.spikes) == ("running_mean", None)


def test_a_running_mean_that_opens_each_pass_high_shows_the_height_of_the_step():
    rng = np.random.default_rng(0)
    rows, length = 12 * 50, 50
    loss = 3 * np.exp(0.02 * rng.normal(size=rows))
    loss[::length] *= 4  # the first batch after a reset
    shown = (np.cumsum(loss.reshape(-1, length), 1) / np.arange(1, length + 1)).ravel()
    columns = {"lr": np.full(rows, 0.01)}
    log = Log("k", np.arange(rows), shown, columns, steps_per_epoch=length, first_step=0)
    found = explain(log)
    assert [finding.cause for finding in found.findings] == ["unknown", "running_mean"]
    assert "at the first step of each pass" in found.sentence
    assert found.spikes.ratio == pytest.approx(4, rel=0.05)
    assert explain(replace(log, shuffled=True)).cause == "epoch_reset"


# No regular spike


def test_no_period():
    found = explain(make_log())
    assert found.cause == "none"
    assert found.spikes is None
    assert "No regular spike in 300 steps (12 passes of 25)" in found.sentence
    assert found.ratio_under == {}


def test_irregular_outliers_are_counted():
    log = make_log(noise=0.03)
    loss = log.loss.copy()
    loss[[40, 97, 203]] *= 5
    found = explain(replace(log, loss=loss))
    assert found.cause == "none"
    assert "3 losses stand twice as high" in found.sentence


def test_a_short_step_in_the_images_alone_is_no_spike():
    log = make_log()
    found = explain(replace(log, columns={"num_images": images(log, 1)}, batch_size=BATCH))
    assert found.cause == "none"


# Too short to judge


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (Log("x", np.zeros(0, np.int64), np.zeros(0)), "no losses"),
        (Log("x", np.arange(50), np.full(50, np.nan)), "No loss (50 in the log)"),
        (Log("x", np.arange(50), np.full(50, -1.0)), "No loss (50 in the log)"),
        (
            Log("x", np.arange(60), np.where(np.arange(60) % 3, np.inf, 1.0)),
            "Only 20 of 60 losses",
        ),
        (Log("x", np.arange(5), np.ones(5)), "too few losses (5) to judge"),
        (Log("x", np.array([3]), np.ones(1)), "too few losses (1) to judge"),
        (make_log(passes=1), "covers 1 pass (25 steps)"),
        (
            make_log(passes=1, steps_per_epoch=None, columns={"epoch": np.zeros(25)}),
            "covers 1 pass",
        ),
        (
            replace(make_log(passes=3), steps=np.arange(1, 76), steps_per_epoch=30),
            "covers 2.5 passes",
        ),
    ],
)
def test_too_short(log, words):
    found = explain(log)
    assert found.cause == "too_short"
    assert found.spikes is None
    assert words in found.sentence


def test_with_a_period_given_nothing_else_is_looked_for():
    log = make_log(place=24)
    assert explain(log, period=25).cause == "short_last_batch"
    assert explain(log, period=24).cause == "none"
    assert explain(log, period=200).cause == "too_short"


def test_it_is_right_by_the_third_pass():
    found = explain(make_log(passes=3, length=50, place=49, factor=2.5))
    assert (found.cause, found.spikes.period) == ("short_last_batch", 50)


# Logs that lack steps


def test_every_fifth_step_still_shows_the_spike_and_says_what_is_missing():
    log = make_log(passes=40, length=25, place=24)
    kept = log.steps % 5 == 0
    found = explain(replace(log, steps=log.steps[kept], loss=log.loss[kept]))
    assert (found.cause, found.spikes.period) == ("short_last_batch", 25)
    assert "holds only 20% of its steps" in found.sentence


def test_every_third_step_meets_the_last_step_in_every_third_pass():
    log = make_log(passes=60, length=25, place=24)
    kept = log.steps % 3 == 0
    found = explain(replace(log, steps=log.steps[kept], loss=log.loss[kept]))
    assert (found.spikes.period, found.spikes.hits) == (25, 20)  # of 60 passes
    assert found.cause == "short_last_batch"
    assert "at the last step of each pass" in found.sentence


def test_a_sparse_random_sample_needs_the_length_of_a_pass():
    log = make_log(passes=40, length=25, place=24)
    kept = np.sort(np.random.default_rng(0).choice(1000, 100, replace=False))
    log = replace(log, steps=log.steps[kept], loss=log.loss[kept])
    assert explain(log).cause == "short_last_batch"
    found = explain(replace(log, steps_per_epoch=None))
    assert found.cause == "too_short"
    assert "10%" in found.sentence
    assert "--steps-per-epoch" in found.sentence


# As JSON, and never an exception


def all_plain(value):
    if isinstance(value, dict):
        return all(type(key) is str and all_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(all_plain, value))
    return value is None or type(value) in (str, int, float, bool)


@pytest.mark.parametrize("log", [short_log(), make_log(), make_log(passes=1)])
def test_as_json_holds_plain_types(log):
    found = explain(log)
    plain = as_json(found)
    assert all_plain(plain)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["cause"] == found.cause
    if found.spikes:
        assert plain["spikes"]["rows"] == found.spikes.rows.tolist()
        assert plain["spikes"]["found"] is True


def test_as_json_turns_what_is_not_finite_into_none():
    found = explain(short_log())
    broken = replace(found, ratio_under={"step_positives": math.nan})
    assert as_json(broken)["ratio_under"] == {"step_positives": None}


def random_log(seed):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(0, 201))
    steps = np.cumsum(rng.integers(1, int(rng.choice([2, 4, 50])), rows))

    def column():
        match rng.integers(5):
            case 0:
                values = np.full(rows, rng.choice([0.0, 1.0, -1.0, 1e-300, 1e300]))
            case 1:
                values = rng.normal(size=rows)
            case _:
                values = np.exp(rng.normal(size=rows))
        odd = rng.random(rows) < rng.choice([0, 0.1, 0.9])
        values[odd] = rng.choice([np.nan, np.inf, -np.inf, 0.0], odd.sum())
        if rows and rng.random() < 0.5:
            values[:: int(rng.integers(4, 40))] *= 5
        return values

    names = ["epoch", "lr", "grad_norm", "momentum_norm", "num_images", "num_positives"]
    names += ["divisor", "clipped"]
    return Log(
        "random",
        steps,
        column(),
        columns={name: column() for name in names if rng.random() < 0.6},
        losses_under={"step_positives": column()} if rng.random() < 0.5 else {},
        steps_per_epoch=[None, 1, 2, 7, 20, 10**9][rng.integers(6)],
        first_step=int(rng.integers(0, 30)),
        batch_size=[None, 1, 16][rng.integers(3)],
        divisor=[None, "step_positives"][rng.integers(2)],
        shuffled=[None, True, False][rng.integers(3)],
    )


def test_explain_never_fails_and_says_one_line():
    causes = set()
    for seed in range(400):
        found = explain(random_log(seed), [None, None, 5, 20, 10**12][seed % 5])
        json.dumps(as_json(found), allow_nan=False)
        assert found.sentence
        assert "\n" not in found.sentence + found.advice
        nothing = found.cause in ("none", "not_held", "too_short")
        assert nothing == (not found.findings)
        assert not nothing or found.spikes is None
        assert found.spikes is None or found.spikes.p_value < CERTAIN
        causes.add(found.cause)
    assert len(causes) >= 3
