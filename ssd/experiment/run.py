"""Runs the whole experiment: every training run, the comparison of split steps, and the page."""

from __future__ import annotations

from pathlib import Path

from ssd.config import Config
from ssd.experiment.scenario import Scenario, check, data_root, draw_data, runs_left, train_all
from ssd.experiment.table import arms_text, write_results
from ssd.experiment.trajectory import trajectory_distances
from ssd.run.names import SPIKES_PAGE
from ssd.training.trainer import DONE

PRESETS = {
    "default": Scenario(full_steps=22, remainders=(4,), seeds=(0,)),
    "question": Scenario(full_steps=1390, remainders=(1,), seeds=(0,)),
}


def run_experiment(base: Config, scenario: Scenario, out: Path) -> int:
    """Trains all runs that are not finished and writes the results; returns the exit status.

    Raises:
        UserError: the scenario shows no spike, or `out` holds runs with other settings.
    """
    check(scenario, base)
    left = runs_left(base, scenario, out)
    draw_data(base, scenario)
    distances = trajectory_distances(base, data_root(base, scenario.full_steps))
    status = train_all(left, out)
    if status != DONE:
        print("the same command goes on where this one stopped")
        return status
    results = write_results(out, base, scenario, distances)
    print(f"\n{arms_text(results)}\n\nreport: {out / SPIKES_PAGE}")
    return DONE
