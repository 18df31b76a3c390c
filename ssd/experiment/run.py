"""Runs the whole experiment: every training run, the comparison of split steps, and the page."""

from __future__ import annotations

import json
from pathlib import Path

from ssd.config import DIVISORS, Config, Divisor
from ssd.experiment.scenario import Scenario, check, data_root, draw_data, runs_left, train_all
from ssd.experiment.table import arms_text, write_results
from ssd.experiment.trajectory import trajectory_distances
from ssd.run.folder import check_out
from ssd.run.names import SPIKES, SPIKES_PAGE
from ssd.training.trainer import DONE

PRESETS = {
    "default": Scenario(full_steps=22, remainders=(4,), seeds=(0,)),
    "question": Scenario(full_steps=1390, remainders=(1,), seeds=(0,)),
}


def run_experiment(base: Config, scenario: Scenario, out: Path) -> int:
    """Trains all runs that are not finished and writes the results; returns the exit status.

    Raises:
        UserError: the scenario shows no spike, or `out` holds runs with other settings or
            something else.
    """
    check(scenario, base)
    check_out(out, "spikes", str(data_root(base, scenario.full_steps)))
    left = runs_left(base, scenario, out)
    draw_data(base, scenario)
    distances = known_distances(out) if not left else None
    if distances is None:
        distances = trajectory_distances(base, data_root(base, scenario.full_steps))
    status = train_all(left, out)
    if status != DONE:
        print("run the same command again to continue where this one stopped")
        return status
    results = write_results(out, base, scenario, distances)
    print(f"\n{arms_text(results)}\n\nreport: {out / SPIKES_PAGE}")
    return DONE


def known_distances(out: Path) -> dict[Divisor, float] | None:
    """The distances that an earlier experiment with the same settings left in spikes.json."""
    try:
        results = json.loads((out / SPIKES).read_text(encoding="utf-8"))
        return {divisor: float(results["trajectory"]["distances"][divisor]) for divisor in DIVISORS}
    except (OSError, ValueError, TypeError, KeyError):
        return None
