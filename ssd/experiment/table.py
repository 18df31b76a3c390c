"""Writes the results of the experiment: spikes.json, the page and the picture."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from ssd.common.files import write_whole
from ssd.common.text_table import text_table
from ssd.config import Config, Divisor
from ssd.experiment.scenario import ARM_NAMES, Run, Scenario, config_of, expected_ratio, runs_of
from ssd.experiment.trajectory import NUM_STEPS, SIZES
from ssd.run.names import (
    ENVIRONMENT,
    EVALUATION,
    METRICS,
    SPIKES,
    SPIKES_PAGE,
    SPIKES_PICTURE,
)
from ssd.run.rows import only, read_rows
from ssd.spikes.detect import Spikes, heights_at, median_of
from ssd.spikes.explain import as_json, explain
from ssd.spikes.log import Floats, Log
from ssd.spikes.page import experiment_picture, write_experiment_page
from ssd.spikes.read import read_log
from ssd.steps import StepRow

QUESTION = "Why does the training loss of an SSD spike once per epoch?"
Figures = dict[str, Any]


def write_results(
    out: Path, base: Config, scenario: Scenario, distances: Mapping[Divisor, float]
) -> Figures:
    """Writes spikes.json, spikes.html and spikes.png about all runs in `out/runs`.

    Args:
        out: the folder of the experiment.
        base: the settings that the runs share.
        scenario: the set of runs.
        distances: of the split trajectories, by divisor; see `ssd.experiment.trajectory`.

    Returns:
        The content of spikes.json.
    """
    runs = list(runs_of(scenario))
    folders = {run.name: out / "runs" / run.name for run in runs}
    figures = [figures_of(run, base, scenario, folders[run.name]) for run in runs]
    results = {
        "question": QUESTION,
        "command": " ".join(["python", *sys.argv]),
        "environment": json.loads(
            (folders[runs[0].name] / ENVIRONMENT).read_text(encoding="utf-8")
        ),
        "batch_size": base.training.batch_size,
        "epochs": base.training.epochs,
        **asdict(scenario),
        "arms": arms_table(base, scenario),
        "runs": figures,
        "table": table_of(figures),
        "trajectory": {
            "steps": NUM_STEPS,
            "splits": f"{sum(SIZES)} images as {' + '.join(map(str, SIZES))}",
            "distances": dict(distances),
        },
    }
    write_whole(out / SPIKES, json.dumps(results, indent=1, allow_nan=False) + "\n")
    rows = {name: train_rows(folder) for name, folder in folders.items()}
    write_experiment_page(out / SPIKES_PAGE, results, rows)
    if {"reported", "share"} <= set(scenario.arms):
        experiment_picture(out / SPIKES_PICTURE, results, rows)
    return results


def train_rows(run_dir: Path) -> list[StepRow]:
    """The optimizer steps of a run."""
    return only(StepRow, read_rows(run_dir / METRICS))


def arms_table(base: Config, scenario: Scenario) -> list[Figures]:
    """The settings of each arm, without accumulation."""
    table = []
    for arm in scenario.chosen:
        run = Run(arm, 1, scenario.remainders[0], scenario.seeds[0])
        config = config_of(run, base, scenario.full_steps)
        table.append(
            {
                "name": arm.name,
                "divisor": arm.divisor,
                "drop_last": arm.drop_last,
                "clip_norm": config.training.clip_norm,
                "lr": config.optimizer.lr,
                "meaning": arm.meaning,
            }
        )
    return table


def figures_of(run: Run, base: Config, scenario: Scenario, run_dir: Path) -> Figures:
    """The figures of one run; a figure that does not exist is None.

    `ratio`, `grad_ratio` and `applied_grad_ratio` compare the last step of each pass with the steps
    before it, whether it spikes or not.
    """
    log = read_log(run_dir)
    explanation = explain(log)
    told = as_json(explanation)
    spikes, ends = explanation.spikes, pass_ends(log)
    norms = log.columns["grad_norm"]

    def height(values: Floats) -> float:
        return median_of(heights_at(log.steps, values, ends.rows, ends.period))

    bound = config_of(run, base, scenario.full_steps).training.clip_norm or math.inf
    evaluation = json.loads((run_dir / EVALUATION).read_text(encoding="utf-8"))
    return {
        "name": run.name,
        "arm": run.arm.name,
        "accumulate": run.accumulate,
        "remainder": run.remainder,
        "seed": run.seed,
        "steps_per_epoch": ends.period,
        "expected_ratio": expected_ratio(run, base.training.batch_size),
        "found": spikes is not None,
        "period": None if spikes is None else spikes.period,
        "p_value": None if spikes is None else spikes.p_value,
        "ratio": height(log.loss),
        "grad_ratio": height(norms),
        "applied_grad_ratio": height(np.minimum(norms, bound)),
        **{key: told[key] for key in ("cause", "sentence", "ratio_under", "aftershock")},
        "final_loss": final_loss(log),
        "mAP": evaluation["mAP"],
    }


def pass_ends(log: Log) -> Spikes:
    """The last step of every pass, as if it were a spike."""
    length = log.steps_per_epoch
    assert length is not None
    assert log.first_step is not None
    rows = np.flatnonzero((log.steps - log.first_step) % length == length - 1)
    phase = (log.first_step - 1) % length
    return Spikes(length, phase, ratio=math.nan, rows=rows, hits=0, p_value=1.0)


def final_loss(log: Log) -> float:
    """The mean loss of the last pass under `step_positives`: the same measure for every arm."""
    assert log.steps_per_epoch is not None
    last_pass = slice(-log.steps_per_epoch, None)
    return float(np.nanmean(log.losses_under["step_positives"][last_pass]))


def table_of(figures: Sequence[Figures]) -> list[Figures]:
    """The runs of all seeds together: one row for each remainder, accumulation and arm."""
    groups: dict[tuple[int, int, str], list[Figures]] = {}
    for run in figures:
        groups.setdefault((run["remainder"], run["accumulate"], run["arm"]), []).append(run)
    order = sorted(groups, key=lambda key: (*key[:2], ARM_NAMES.index(key[2])))
    return [
        {"remainder": key[0], "accumulate": key[1], "arm": key[2], **summary(groups[key])}
        for key in order
    ]


def summary(runs: Sequence[Figures]) -> Figures:
    """Medians over the seeds; for the mAP the mean, the lowest and the highest."""
    medians = ("ratio", "grad_ratio", "applied_grad_ratio", "final_loss")
    maps = [run["mAP"] for run in runs]
    return {
        "runs": len(runs),
        "found": sum(run["found"] for run in runs),
        "expected_ratio": runs[0]["expected_ratio"],
        **{name: median(run[name] for run in runs) for name in medians},
        "aftershock": dict(median_aftershocks(runs)),
        "mAP": fmean(maps),
        "mAP_lowest": min(maps),
        "mAP_highest": max(maps),
    }


def median_aftershocks(runs: Sequence[Figures]) -> Iterator[tuple[str, float]]:
    """The median number of steps that each column stays raised, over the runs with spikes."""
    shaken = [run["aftershock"] for run in runs if run["found"]]
    for column in shaken[0] if shaken else ():
        yield column, median(shocks[column] for shocks in shaken)


def arms_text(results: Figures) -> str:
    """The table of the arms for the terminal."""
    header = ("arm", "micro", "r", "found", "loss x", "B/r", "grad x", "applied", "mAP")
    cells = [
        (
            row["arm"],
            str(row["accumulate"]),
            str(row["remainder"]),
            f"{row['found']}/{row['runs']}",
            *(f"{row[name]:.2f}" for name in ("ratio", "expected_ratio")),
            *(f"{row[name]:.2f}" for name in ("grad_ratio", "applied_grad_ratio")),
            f"{row['mAP']:.3f}",
        )
        for row in results["table"]
    ]
    split = results["trajectory"]
    rows = [(name, f"{value:.1e}") for name, value in split["distances"].items()]
    head = (f"{split['splits']}, against one batch, after {split['steps']} steps", "distance")
    return f"{text_table(header, cells)}\n\n{text_table(head, rows)}"
