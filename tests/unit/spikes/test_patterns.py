"""Each pattern of the pass is found in logs of every kind, and the arithmetic agrees with loops."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.spike_logs import PATTERNS, WAYS, holds, make
from benchmarks.spike_patterns import is_cautious, is_in_place, is_right
from ssd.spikes.covers import best_cover
from ssd.spikes.explain import explain
from ssd.spikes.fixed_order import find_fixed_order
from ssd.spikes.level import chance_of_t, jump_at, slope_of
from ssd.spikes.log import Log
from ssd.spikes.passes import passes_of, passes_of_length
from ssd.spikes.running_mean import undo

KINDS = [(p, w) for p in PATTERNS for w in WAYS if (p, w) != ("running mean", "means over k")]


def counts_of(seeds):
    """How many logs hold their pattern, are explained rightly, and so on."""
    counts = Counter()
    for pattern, way in KINDS:
        for seed in seeds:
            made = make(pattern, way, seed)
            told = explain(made.log)
            right = is_right(made, told)
            placed = right and is_in_place(made, told)
            kind = "none" if pattern == "none" else "held" if holds(made) else "other"
            counts[kind] += 1
            counts[f"{kind} right"] += (
                placed if kind != "other" else placed or is_cautious(made, told)
            )
    return counts


def test_a_log_of_each_pattern_and_way_is_explained():
    counts = counts_of(range(1))
    assert counts["none right"] == counts["none"]
    assert counts["held right"] >= 0.95 * counts["held"]
    assert counts["other right"] >= 0.85 * counts["other"]


@pytest.mark.long
def test_logs_of_each_pattern_and_way_are_explained():
    counts = counts_of(range(20_000, 20_015))
    assert counts["none right"] >= 0.98 * counts["none"]
    assert counts["held right"] >= 0.95 * counts["held"]
    assert counts["other right"] >= 0.9 * counts["other"]


# Claims


def noisy(rows, seed=0, sigma=0.05):
    return np.exp(sigma * np.random.default_rng(seed).normal(size=rows))


def spiky(length, passes, place, height=4.0, **known):
    loss = noisy(length * passes)
    loss[place::length] *= height
    return Log("made", np.arange(1, len(loss) + 1), loss, **known)


def means_of(log, every):
    rows = len(log.loss) // every
    means = log.loss[: rows * every].reshape(rows, every).mean(1)
    return replace(log, steps=every * np.arange(1, rows + 1), loss=means)


def test_nothing_is_claimed_from_fewer_than_twenty_rows():
    log = spiky(6, 3, 5, 8.0)
    found = explain(log)
    assert (found.cause, found.findings) == ("too_short", ())
    assert "20 rows and three passes" in found.sentence


@pytest.mark.parametrize("window", [10, None])
@pytest.mark.parametrize("length", [517, None])
def test_a_spike_in_means_is_told_in_its_own_height_and_without_images(window, length):
    log = means_of(spiky(517, 40, 516), 10)
    found = explain(replace(log, window=window, steps_per_epoch=length, batch_size=16))
    assert (found.cause, found.spikes.period) == ("short_last_batch", 517)
    assert found.spikes.ratio == pytest.approx(4, rel=0.1)
    assert "at the last step" in found.sentence
    assert " images" not in found.sentence.replace("number of images", "")


def test_the_last_step_off_the_grid_is_a_row_like_any():
    log = spiky(517, 30, 516)
    place = (log.steps - 1) % 517 + 1
    kept = (place % 50 == 0) | (place == 517)
    log = replace(log, steps=log.steps[kept], loss=log.loss[kept])
    for known in (log, replace(log, steps_per_epoch=517)):
        found = explain(known)
        assert (found.cause, found.spikes.period, found.spikes.hits) == (
            "short_last_batch",
            517,
            30,
        )
        assert "at the last step of each pass" in found.sentence


def test_iterations_that_restart_are_told_to_the_next_row():
    log = spiky(500, 20, 499)
    kept = log.steps % 50 == 0
    epoch = (log.steps[kept] - 1.0) // 500
    found = explain(
        replace(
            log, steps=log.steps[kept], loss=log.loss[kept], columns={"epoch": epoch}, exact=False
        )
    )
    assert (found.cause, found.spikes.period) == ("short_last_batch", 500)
    assert "some may follow" in found.sentence


@pytest.mark.parametrize(
    ("known", "named"),
    [({"shuffled": False}, True), ({}, False), ({"shuffled": False, "exact": False}, False)],
)
def test_images_are_numbered_only_where_the_order_and_the_step_are_certain(known, named):
    found = explain(spiky(25, 12, 5, steps_per_epoch=25, batch_size=16, **known))
    assert found.cause == "fixed_sample"
    assert ("images 81 to 96" in found.sentence) == named


def test_a_high_batch_of_an_order_that_repeats_is_not_blamed_on_its_size():
    rng = np.random.default_rng(0)
    loss = np.tile(np.exp(0.4 * rng.normal(size=40)), 12) * noisy(480)
    loss[39::40] = 1.15 * loss.reshape(12, 40).max(axis=1)
    found = explain(Log("made", np.arange(1, 481), loss, steps_per_epoch=40))
    assert found.cause == "fixed_order"
    assert "short_last_batch" not in [finding.cause for finding in found.findings]


def test_fractional_steps_of_a_pass_keep_a_drop_and_its_groups_apart():
    """As of a language model: means over 10 steps, groups of 50, 411.7 steps a pass."""
    epoch = np.arange(1, 10_001) / 411.7
    rng = np.random.default_rng(0)
    within = (np.arange(10_000) % 411.7) % 50 / 50
    loss = 0.8 ** np.floor(epoch) * (1.4 - 0.8 * within) * np.exp(0.1 * rng.normal(size=10_000))
    log = means_of(Log("made", np.arange(1, 10_001), loss), 10)
    found = explain(replace(log, columns={"epoch": np.round(epoch[9::10], 2)}, window=10))
    causes = {finding.cause: finding for finding in found.findings}
    assert list(causes) == ["epoch_drop", "grouped_batches"]
    assert causes["epoch_drop"].period == pytest.approx(411.7, abs=0.2)
    assert causes["epoch_drop"].height == pytest.approx(0.8, abs=0.03)
    assert causes["grouped_batches"].period == 50
    highest, lowest = 1.4 - 0.8 * 0.09, 1.4 - 0.8 * 0.89  # of the rows within a group
    assert causes["grouped_batches"].height == pytest.approx(highest / lowest, rel=0.05)


@pytest.mark.parametrize(("way", "seed"), [("every step", 14_013), ("every k, a divisor", 14_007)])
def test_groups_in_passes_of_unknown_length_are_not_taken_for_an_order(way, seed):
    found = explain(make("grouped", way, seed).log)
    assert found.cause == "unknown"
    assert "batches grouped by length" in found.sentence


def test_a_drop_of_passes_with_few_rows_may_be_a_running_mean():
    found = explain(make("running mean", "fractional epochs", 14_041).log)
    assert (found.cause, found.findings[0].period) == ("unknown", 120)
    assert "too few rows to tell why" in found.sentence


def test_the_restarts_of_the_learning_rate_have_its_period():
    made = make("restarts", "every k, no divisor", 0)
    found = explain(made.log)
    assert found.cause == "lr_schedule"
    assert found.findings[0].period == pytest.approx(made.period, abs=made.every)


# Arithmetic


@pytest.mark.parametrize("every", [1, 7])
def test_undoing_a_running_mean_gives_the_losses_back(every):
    loss = noisy(5 * 60).reshape(5, 60)
    shown = (np.cumsum(loss, 1) / np.arange(1, 61)).ravel()
    steps = np.arange(every, 301, every)
    raw = undo(shown[steps - 1], passes_of_length(steps, 60, 1))
    for row, step in enumerate(steps.tolist()):
        number, place = divmod(step - 1, 60)
        before = max([0] + [s - 60 * number for s in steps[:row].tolist() if s > 60 * number])
        assert raw[row] == pytest.approx(loss[number, before : place + 1].mean(), rel=1e-9)


def test_a_running_mean_is_told_with_its_jump():
    rng = np.random.default_rng(1)
    raw = (2 - 0.02 * np.arange(12))[:, None] * np.exp(0.1 * rng.normal(size=(12, 80)))
    raw[1:] *= 1.2
    shown = (np.cumsum(raw, 1) / np.arange(1, 81)).ravel()
    for known in ({}, {"steps_per_epoch": 80}):
        found = explain(Log("made", np.arange(1, 961), shown, **known))
        assert found.cause == "running_mean"
        assert found.findings[0].period == pytest.approx(80, abs=1)
        assert "Nothing is wrong with the training" in found.advice


def test_the_correlation_of_passes_is_that_of_all_pairs():
    rng = np.random.default_rng(2)
    order = 0.3 * rng.normal(size=30)
    log_loss = np.tile(order, 8) + 0.1 * rng.normal(size=240)
    found = find_fixed_order(np.arange(240), log_loss, passes_of_length(np.arange(240), 30, 0))
    assert found.pairs == 30 * 7
    assert found.correlation == pytest.approx(0.3**2 / (0.3**2 + 0.1**2), abs=0.06)
    shuffled = np.concatenate([rng.permutation(order) for _ in range(8)])
    assert (
        find_fixed_order(np.arange(240), shuffled, passes_of_length(np.arange(240), 30, 0)) is None
    )


def test_an_order_repeats_wherever_a_pass_begins():
    rng = np.random.default_rng(6)
    loss = np.exp(np.tile(0.3 * rng.normal(size=60), 40) + 0.1 * rng.normal(size=2400))
    kept = np.sort(rng.choice(np.arange(500, 2400), 470, replace=False))
    log = Log("sample", kept, loss[kept], first_step=None)
    assert explain(replace(log, steps_per_epoch=60)).cause == "fixed_order"
    assert explain(log).cause == "too_short"


def test_a_slope_is_that_of_least_squares():
    rng = np.random.default_rng(3)
    along, beside = rng.random(50), np.vander(np.arange(50) / 50, 4)
    mean = 0.7 * along + beside @ [1, 2, 3, 4] + 0.1 * rng.normal(size=50)
    (expected, *_), *_ = np.linalg.lstsq(np.column_stack([along, beside]), mean, rcond=None)
    assert slope_of(mean, along, beside).size == pytest.approx(expected)


@pytest.mark.parametrize(
    ("t", "free", "chance"), [(2.228, 10, 0.05), (4.144, 10, 0.002), (2.009, 50, 0.05)]
)
def test_the_chance_of_t_is_that_of_the_tables(t, free, chance):
    assert chance_of_t(t, free) == pytest.approx(chance, rel=0.05)


def test_a_jump_is_that_of_the_medians():
    log_loss = np.repeat([0.0, 0.3, 0.6, 0.9], 60) + 0.02 * np.random.default_rng(4).normal(
        size=240
    )
    jump = jump_at(log_loss, np.array([60, 120, 180]))
    assert jump.size == pytest.approx(0.3, abs=0.02)
    assert jump.p_value < 1e-6
    assert jump_at(log_loss[:60], np.array([15, 30, 45])).p_value > 1e-3


@pytest.mark.parametrize(("length", "width"), [(103, 10), (50, 10), (37, 1)])
def test_a_cover_is_the_best_of_all_steps_of_a_pass(length, width):
    rng = np.random.default_rng(5)
    begins = np.arange(1, 2000, width)
    values = rng.normal(size=len(begins))
    high = [r for r, b in enumerate(begins) if any((b + j) % length == 17 for j in range(width))]
    values[high] += 3
    cover = best_cover(begins, np.full(len(begins), width), values, float(length))
    assert cover.rows.tolist() == high
    assert (cover.first - 17) % length in (0, *range(length - width + 1, length))
    assert cover.log_p < math.log(1e-6)


def test_passes_follow_what_the_log_tells():
    steps = np.arange(10, 4000, 10)
    by_epoch = passes_of(Log("a", steps, np.ones(399), {"epoch": np.round(steps / 411.7, 2)}))
    assert by_epoch.length == pytest.approx(411.7, abs=1)
    place = np.arange(1, 1001) % 103
    rows = np.flatnonzero((place % 20 == 0) & (place > 0) | (place == 0)) + 1
    by_rhythm = passes_of(Log("a", rows, np.ones(len(rows))))
    assert by_rhythm.length == 103
    assert passes_of(Log("a", np.arange(1, 100), np.ones(99))) is None
