import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import get_args

import numpy as np
import pytest

from ssd.run.rows import column
from ssd.spikes.explain import Explanation, explain
from ssd.spikes.finding import Cause
from ssd.spikes.log import Log
from ssd.spikes.page import (
    KINDS,
    experiment_picture,
    write_experiment_page,
    write_explanation_page,
)

HOSTILE = '<b>&"'
DIVISORS = ("step_positives", "rank_positives", "image_positives", "batch_positives_and_size")
ARMS = {
    "reported": ("batch_positives_and_size", False, None),
    "drop_last": ("batch_positives_and_size", True, None),
    "clipped": ("batch_positives_and_size", False, 0.75),
    "rescaled": ("rank_positives", False, None),
    "step_positives": ("step_positives", False, None),
    "share": ("step_positives", False, None),
}
SPIKES = {"reported": 4.0, "clipped": 4.0}


@pytest.fixture(scope="module")
def train_rows(step_row):
    """The rows of a run of 11 steps a pass, 10 where the short one is dropped."""

    def rows_of_arm(arm, passes=8):
        rng = np.random.default_rng(0)
        length = 10 if arm == "drop_last" else 11
        rows = []
        for step in range(1, passes * length + 1):
            place = (step - 1) % length
            short = place == 10
            loss = float(np.exp(rng.normal(0, 0.1))) * (SPIKES.get(arm, 1) if short else 1)
            rows.append(
                step_row(
                    step=step,
                    epoch=(step - 1) // length,
                    step_in_epoch=place,
                    steps_per_epoch=length,
                    loss=loss,
                    num_images=4 if short else 16,
                    lr=0.01,
                    grad_norm=2 * loss,
                    momentum_norm=math.nan if arm == "clipped" else 3 * loss,
                )
            )
        return rows

    return rows_of_arm


def arm_of(name):
    divisor, drop_last, clip_norm = ARMS[name]
    return {
        "name": name,
        "divisor": divisor,
        "drop_last": drop_last,
        "clip_norm": clip_norm,
        "lr": 0.16,
        "meaning": f"what {name} means {HOSTILE}",
    }


def run_of(arm, accumulate, remainder, seed):
    spikes = arm in SPIKES
    return {
        "name": f"{arm}_x{accumulate}_r{remainder}_seed{seed}",
        "arm": arm,
        "accumulate": accumulate,
        "remainder": remainder,
        "seed": seed,
        "steps_per_epoch": 11,
        "expected_ratio": 16 / remainder if spikes else 1.0,
        "found": spikes,
        "period": 11 if spikes else None,
        "ratio": SPIKES.get(arm),
    }


def table_of(arm, accumulate, remainder):
    spikes = arm in SPIKES
    return {
        "arm": arm,
        "accumulate": accumulate,
        "remainder": remainder,
        "runs": 2,
        "found": 2 if spikes else 0,
        "expected_ratio": 16 / remainder if spikes else 1.0,
        "ratio": 3.875 if spikes else None,
        "grad_ratio": 4.125 if spikes else 1.0,
        "applied_grad_ratio": 1.25,
        "aftershock": {"loss": 2, "grad_norm": 1, "momentum_norm": 12} if spikes else None,
        "mAP": 0.6125,
        "mAP_lowest": 0.5875,
        "mAP_highest": 0.6375,
        "final_loss": 3.2,
    }


def results_of(remainders=(4,), accumulate=4):
    kinds = [(arm, k, r) for k in (1, accumulate) for r in remainders for arm in ARMS]
    return {
        "question": "Why does the loss of my SSD spike?",
        "preset": "default",
        "command": f"python tools/spikes.py --out {HOSTILE}",
        "environment": {"torch": "2.15.0", "gpus": []},
        "batch_size": 16,
        "accumulate": accumulate,
        "full_steps": 10,
        "epochs": 8,
        "remainders": list(remainders),
        "seeds": [0, 1],
        "arms": [arm_of(name) for name in ARMS],
        "runs": [run_of(*kind, seed) for kind in kinds for seed in (0, 1)],
        "table": [table_of(*kind) for kind in kinds],
        "trajectory": {
            "steps": 20,
            "splits": "16 images as 7 + 5 + 3 + 1",
            "distances": {"step_positives": 2e-6, "rank_positives": 0.125},
        },
    }


def rows_of(results, train_rows):
    return {run["name"]: train_rows(run["arm"]) for run in results["runs"] if run["seed"] == 0}


def visible_text(page):
    """The text between tags, without styles and figures."""
    pieces = []
    parser = HTMLParser()
    parser.handle_data = pieces.append
    parser.feed(re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL))
    return " ".join(" ".join(pieces).split())


def assert_needs_nothing_else(page):
    targets = re.findall(r"""(?:href|src|srcset|action|data)\s*=\s*["']([^"']*)""", page)
    assert [target for target in targets if not target.startswith("#")] == []
    assert re.findall(r"url\((?!#)|@import|<script|<link|<iframe|\son\w+=", page) == []
    assert "<b>" not in page


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, train_rows):
    results = json.loads(json.dumps(results_of((4, 1))))
    path = tmp_path_factory.mktemp("experiment") / "spikes.html"
    assert write_experiment_page(path, results, rows_of(results, train_rows)) == path
    return path.read_text(encoding="utf-8")


def test_the_experiment_needs_nothing_else(experiment):
    assert_needs_nothing_else(experiment)
    assert 'class="missing"' not in experiment
    assert experiment.count("<svg") == 6


def test_the_question_is_answered_with_the_numbers_of_the_run(experiment):
    text = visible_text(experiment)
    for piece in (
        "Why does the loss of my SSD spike? Because the last batch of an epoch is short",
        "164 images make 10 steps of 16, and one of 4.",
        "16 images / 4 images = loss and gradient 4 times too large , every 11 steps",
        "Here it stood at 3.88× the losses before it.",
    ):
        assert piece in text


def test_every_arm_is_in_the_table_of_the_first_remainder(experiment):
    text = visible_text(experiment)
    assert (
        f"clipped what clipped means {HOSTILE} batch_positives_and_size lr 0.16, clipped at 0.75 "
        "2 of 2 every 11 steps 3.88× 4.00× expected 4.12× 1.25× applied 2 / 1 / 12 61.3 % "
        "58.8 % to 63.7 %"
    ) in text
    assert (
        f"step_positives what step_positives means {HOSTILE} step_positives lr 0.16 0 of 2 – "
        "1.00× expected 1.00× 1.25× applied – / – / – 61.3 %"
    ) in text


def test_other_remainders_and_micro_batches_have_their_own_table(experiment):
    text = visible_text(experiment).partition("Other remainders and micro-batches")[2]
    assert "reported 1 1 2 of 2 3.88× 16.0× 4.12× 61.3 %" in text
    assert "reported 4 4 2 of 2 3.88× 4.00×" in text
    assert "reported 1 4 " not in text


def test_the_distances_and_how_it_was_made_are_told(experiment):
    text = visible_text(experiment)
    assert "step_positives 0.0002 % rank_positives 12 %" in text
    assert f"How this page was made python tools/spikes.py --out {HOSTILE} torch 2.15.0" in text


def test_runs_without_rows_are_left_out(tmp_path, train_rows):
    results = results_of(accumulate=1)
    rows = rows_of(results, train_rows)
    rows = {run: drawn for run, drawn in rows.items() if "clipped" not in run}
    page = write_experiment_page(tmp_path / "a.html", results, rows).read_text("utf-8")
    assert page.count("<svg") == 3
    assert ">drop_last: what drop_last means" in page
    assert ">clipped: what clipped means" not in page
    page = write_experiment_page(tmp_path / "b.html", results, {}).read_text("utf-8")
    assert "<svg" not in page
    assert "The rows of these runs are not there to be drawn." in page


def test_an_experiment_without_trajectory_and_with_nothing_found(tmp_path):
    results = results_of() | {"trajectory": None}
    for row in results["table"]:
        row |= dict.fromkeys(("ratio", "grad_ratio", "applied_grad_ratio", "mAP"))
    page = write_experiment_page(tmp_path / "a.html", results, {}).read_text("utf-8")
    assert "It has not been measured." in page
    assert "None" not in visible_text(page)


def test_the_picture_shows_both_arms(tmp_path, train_rows):
    results = results_of()
    experiment_picture(tmp_path / "spikes.svg", results, rows_of(results, train_rows))
    text = (tmp_path / "spikes.svg").read_text("utf-8")
    for piece in ("a spike every epoch", "no spike", "16 / 4 = 4 times too high"):
        assert piece in text


def log_of(rows):
    loss = column(rows, "loss")
    return Log(
        f"runs/{HOSTILE}",
        column(rows, "step").astype(np.int64),
        loss,
        {key: column(rows, key) for key in ("lr", "grad_norm", "momentum_norm", "num_images")},
        {divisor: np.ones_like(loss) for divisor in DIVISORS[:3]} | {DIVISORS[3]: loss},
        steps_per_epoch=11,
        batch_size=16,
        divisor=DIVISORS[3],
    )


def test_an_explained_run_is_shown_whole(tmp_path, train_rows):
    log = log_of(train_rows("reported"))
    explanation = explain(log)
    assert explanation.cause == "short_last_batch"
    page = write_explanation_page(tmp_path / "a.html", log, explanation).read_text("utf-8")
    assert_needs_nothing_else(page)
    assert page.count("<svg") == 5
    assert 'class="missing"' not in page
    text = visible_text(page)
    short = explanation.short_step
    assert f"The weight of the short step {short.sentence} {short.advice} Loss" in text
    first, stop, further = explanation.sentence.partition(". ")
    assert f"A short last batch {first}{stop}{further} {explanation.advice} Period 11 " in text
    assert "Under the remedy 1.00× step_positives" in text
    assert "height under step_positives 1.00×" in text
    for title in ("batch_positives_and_size 3.", "step_positives 1.00×", "learning rate"):
        assert f">{title}" in page


def test_a_bare_column_without_a_period(tmp_path):
    loss = np.exp(np.random.default_rng(3).normal(0, 0.1, 400))
    log = Log("losses.csv", np.arange(400), loss, note="7 rows were <replaced>.")
    explanation = explain(log)
    assert explanation.spikes is None
    page = write_explanation_page(tmp_path / "a.html", log, explanation).read_text("utf-8")
    assert page.count("<svg") == 1
    assert page.count('class="missing"') == 3
    text = visible_text(page)
    assert "No regular spike" in text
    assert "7 rows were <replaced>. Loss" in text
    assert "steps 0 to 399 steps of a pass –" in text


def test_a_log_of_every_tenth_step(tmp_path):
    steps = np.arange(10, 4001, 10)
    loss = np.exp(np.random.default_rng(3).normal(0, 0.1, 400)) * np.where(steps % 160, 1, 5)
    log = Log("losses.csv", steps, loss)
    explanation = explain(log)
    assert explanation.spikes
    assert explanation.spikes.period == 160
    page = write_explanation_page(tmp_path / "a.html", log, explanation).read_text("utf-8")
    assert ">rows of every 10 steps after the spike<" in page


def test_a_long_log_makes_no_huge_page(tmp_path):
    steps = np.arange(1, 200_001)
    loss = np.exp(np.random.default_rng(3).normal(0, 0.1, len(steps))) * np.where(steps % 8, 1, 3)
    log = Log("losses.csv", steps, loss, steps_per_epoch=8)
    spikes = explain(Log("", steps[:800], loss[:800], steps_per_epoch=8)).spikes
    assert spikes
    path = write_explanation_page(tmp_path / "a.html", log, Explanation("unknown", "", "", spikes))
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("values", [[], [math.nan] * 5, [0.0] * 40, [-1.0, math.inf] * 30, [2.0]])
def test_whatever_is_in_a_log_there_is_a_page(tmp_path, values):
    log = Log("losses.csv", np.arange(len(values)), np.array(values), steps_per_epoch=4)
    explanation = explain(log)
    page = write_explanation_page(tmp_path / "a.html", log, explanation).read_text("utf-8")
    assert KINDS[explanation.cause] in page
    assert ("<svg" in page) == any(map(math.isfinite, values))


@pytest.mark.parametrize("extreme", [1e300, -1e300, 1e-300])
def test_numbers_that_no_axis_holds_are_left_out(tmp_path, extreme):
    loss = np.where(np.arange(60) % 7, 1.0, extreme)
    log = Log("", np.arange(60), loss, {"lr": loss}, {"a": loss, "b": 1 + 0 * loss}, 7)
    found = explain(replace(log, loss=np.where(np.arange(60) % 7, 1.0, 9.0)))
    page = write_explanation_page(tmp_path / "a.html", log, found).read_text("utf-8")
    assert page.count("<svg") == 5


def test_every_cause_has_a_title():
    assert set(KINDS) == set(get_args(Cause))
