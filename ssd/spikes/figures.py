"""Turns the columns of the experiment's runs, or of a log, into figures by name.

Letters: `K` spikes, `W` steps of a stretch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ssd.report import plots
from ssd.report.render import times
from ssd.run.rows import column
from ssd.spikes import fold
from ssd.spikes.detect import grid_of
from ssd.spikes.explain import Explanation
from ssd.spikes.log import Floats, Ints, Log
from ssd.spikes.plots import LABELS, Series, pass_figure, series_figure, zoom_figure
from ssd.steps import StepRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ssd.spikes.detect import Spikes

ArmRuns = Sequence[tuple[Mapping[str, Any], Sequence[StepRow]]]
ZOOMED = ("loss", "grad_norm", "momentum_norm")
BEFORE, AFTER = 6, 20
HUGE = 1e100


def arm_figures(runs: ArmRuns, accumulate: int) -> dict[str, Figure]:
    """The loss, the gradient norm and the steps around a spike, for runs of one accumulation.

    The bound of an arm that clips holds for a single micro-batch, so it is drawn only there.
    """
    titled = [(f"{arm['name']}: {arm['meaning']}", arm, rows) for arm, rows in runs]
    losses = [row_series(rows, "loss", title) for title, _, rows in titled]
    norms = [
        replace(
            row_series(rows, "grad_norm", title),
            bound=arm["clip_norm"] if accumulate == 1 else None,
        )
        for title, arm, rows in titled
    ]
    ends = {arm["name"]: _pass_ends(rows) for arm, rows in runs}
    return {
        f"loss_x{accumulate}": series_figure(losses, "loss"),
        f"norm_x{accumulate}": series_figure(norms, "gradient norm, before clipping"),
        f"zoom_x{accumulate}": zoom_figure(ends, BEFORE, "steps after the last step of the pass"),
    }


def log_figures(log: Log, explanation: Explanation) -> dict[str, Figure]:
    """The figures that the log has columns for; it must have a finite loss."""
    log, spikes = _without_extremes(log), explanation.spikes
    loss = _log_series(log, spikes, "", log.loss)
    figures = {"loss": series_figure([loss], "loss")}
    periods = [round(finding.period) for finding in explanation.findings if finding.period]
    period = next(iter(periods), log.steps_per_epoch)
    if period and period > 1:
        figures["pass"] = pass_figure(loss, period, log.first_step or 0)
    if spikes:
        figures["zoom"] = _log_zoom(log, spikes)
    columns = [
        replace(_log_series(log, spikes, LABELS[key], values), logarithmic="norm" in key)
        for key, values in log.columns.items()
        if key in LABELS and np.isfinite(values).any()
    ]
    if columns:
        figures["columns"] = series_figure(columns, same_span=False)
    if log.losses_under:
        ratios = {name: f" {times(ratio)}" for name, ratio in explanation.ratio_under.items()}
        redrawn = [
            _log_series(log, spikes, name + ratios.get(name, ""), values)
            for name, values in log.losses_under.items()
        ]
        figures["redrawn"] = series_figure(redrawn, "loss")
    return figures


def row_series(rows: Sequence[StepRow], key: str, title: str) -> Series:
    """A column of a run, in which the steps with fewer images than a full one are marked."""
    images = column(rows, "num_images")
    return Series(
        title=title,
        steps=_steps(rows),
        values=column(rows, key),
        spikes=images < np.nanmax(images, initial=0),
        starts=plots.epoch_starts(rows),
    )


def _pass_ends(rows: Sequence[StepRow]) -> dict[str, Floats]:
    """The columns [K, W] around the last step of every pass, whether it is short or not."""
    steps = _steps(rows)
    last = column(rows, "step_in_epoch") == column(rows, "steps_per_epoch") - 1
    after = min(AFTER, (rows[0].steps_per_epoch or 1) - 1)
    columns = {key: column(rows, key) for key in ZOOMED}
    return _around(steps, columns, steps[last], after)


def _without_extremes(log: Log) -> Log:
    """The log without numbers that no axis can show, such as 1e300."""

    def keep(values: Floats) -> Floats:
        size = np.abs(values)
        return np.where((size == 0) | ((size > 1 / HUGE) & (size < HUGE)), values, np.nan)

    return replace(
        log,
        loss=keep(log.loss),
        columns={name: keep(values) for name, values in log.columns.items()},
        losses_under={name: keep(values) for name, values in log.losses_under.items()},
    )


def _log_zoom(log: Log, spikes: Spikes) -> Figure:
    stride, _ = grid_of(log.steps)
    columns = {"loss": log.loss} | {key: log.columns[key] for key in ZOOMED if key in log.columns}
    after = min(AFTER, spikes.period // stride - 1)
    around = _around(log.steps, columns, log.steps[spikes.rows], after, stride)
    unit = "steps" if stride == 1 else f"rows of every {stride} steps"
    return zoom_figure({"this run": around}, BEFORE, f"{unit} after the spike")


def _around(
    steps: Ints, columns: Mapping[str, Floats], centres: Ints, after: int, stride: int = 1
) -> dict[str, Floats]:
    """The columns [K, W] around the steps `centres` [K], relative to the level before each."""
    return {
        key: fold.over_level(fold.windows(steps, values, centres, BEFORE, after, stride), BEFORE)
        for key, values in columns.items()
        if np.isfinite(values).any()
    }


def _steps(rows: Sequence[StepRow]) -> Ints:
    return column(rows, "step").astype(np.int64)


def _log_series(log: Log, spikes: Spikes | None, title: str, values: Floats) -> Series:
    marked = np.zeros(len(log.steps), bool)
    if spikes:
        marked[spikes.rows] = True
    starts = log.steps[:0]
    if log.steps_per_epoch and log.first_step is not None:
        starts = log.steps[(log.steps - log.first_step) % log.steps_per_epoch == 0]
    return Series(title, log.steps, values, marked, starts[starts > log.steps[0]].astype(float))
