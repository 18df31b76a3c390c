"""Writes the pages on regular spikes: the experiment that makes them, and one explained run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssd.report.render import count, number, times, write_page
from ssd.spikes.evidence import images_text
from ssd.spikes.explain import Explanation
from ssd.spikes.figures import ArmRuns, arm_figures, log_figures, row_series
from ssd.spikes.log import Log
from ssd.spikes.plots import LABELS, MOST_PASSES, save_picture
from ssd.steps import StepRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent
KINDS = {
    "short_last_batch": "A short last batch",
    "lr_schedule": "The learning rate's schedule",
    "epoch_reset": "Something starts over in every pass",
    "fixed_sample": "The same images at the same place of every pass",
    "running_mean": "The logger's running mean starts anew with each pass",
    "epoch_drop": "The loss drops at each new pass",
    "fixed_order": "The order repeats in every pass",
    "grouped_batches": "Batches grouped by length",
    "none": "No regular spike",
    "not_held": "No regular spike in the rows that the log has",
    "unknown": "A regular pattern of unknown cause",
    "too_short": "Too little to judge",
}


def write_experiment_page(
    path: Path, results: Mapping[str, Any], rows: Mapping[str, Sequence[StepRow]]
) -> Path:
    """Writes the page of the experiment: the spike in every arm, and what ends it.

    Args:
        path: the HTML file to write.
        results: the content of spikes.json.
        rows: the steps of each run, by its name; runs may be missing.
    """
    figures: dict[str, Figure] = {}
    for accumulate in dict.fromkeys((1, results["accumulate"])):
        runs = _shown_runs(results, rows, accumulate)
        if runs:
            figures |= arm_figures(runs, accumulate)
    first = {"accumulate": 1, "remainder": results["remainders"][0]}
    table = results["table"]
    main = [row for row in table if all(row[key] == value for key, value in first.items())]
    return write_page(
        path,
        TEMPLATES / "experiment.html",
        figures,
        results=results,
        remainder=first["remainder"],
        reported=next((row for row in main if row["arm"] == "reported"), {}),
        headline=_experiment_headline(main),
        arms={arm["name"]: arm for arm in results["arms"]},
        periods=_periods(results, first),
        main=main,
        others=[row for row in table if row not in main],
    )


def experiment_picture(
    path: Path, results: Mapping[str, Any], rows: Mapping[str, Sequence[StepRow]]
) -> None:
    """Draws `reported` above `share` into an .svg, .png or .jpg file, on white.

    Args:
        path: the picture to write.
        results: the content of spikes.json.
        rows: the steps of each run, by its name; both arms must be there.
    """
    runs = {arm["name"]: drawn for arm, drawn in _shown_runs(results, rows, 1)}
    full, short = results["batch_size"], results["remainders"][0]
    save_picture(
        path,
        row_series(
            runs["reported"],
            "loss",
            "Divided by the positives, and again by the batch size: a spike every epoch",
        ),
        row_series(
            runs["share"],
            "loss",
            "Divided once, by the positives of the step: the same short steps, no spike",
        ),
        f"{images_text(short)} instead of {full}:  {full} / {short} = {full / short:.3g} "
        "times too high",
    )


def write_explanation_page(path: Path, log: Log, explanation: Explanation) -> Path:
    """Writes the page of one run: the cause of its spikes, and the curves that show it.

    Spikes and columns may be missing; the page then says so.

    Args:
        path: the HTML file to write.
        log: the log that was explained.
        explanation: its explanation by `ssd.spikes.explain`.
    """
    return write_page(
        path,
        TEMPLATES / "explanation.html",
        log_figures(log, explanation) if np.isfinite(log.loss).any() else {},
        source=Path(log.source).name or log.source,
        kind=KINDS[explanation.cause],
        note=log.note,
        explanation=explanation,
        headline=list(_explanation_headline(explanation)),
        facts=list(_facts(log, explanation)),
        most_passes=MOST_PASSES,
    )


def _shown_runs(
    results: Mapping[str, Any], rows: Mapping[str, Sequence[StepRow]], accumulate: int
) -> ArmRuns:
    """The (arm, rows) pairs of the first seed and remainder that ran with this `accumulate`."""
    runs = [run for run in results["runs"] if run["accumulate"] == accumulate]
    alike = [run for run in runs if all(run[key] == runs[0][key] for key in ("remainder", "seed"))]
    names = {run["arm"]: run["name"] for run in alike}
    found = [(arm, rows.get(names.get(arm["name"], ""), ())) for arm in results["arms"]]
    return [(arm, drawn) for arm, drawn in found if drawn]


def _experiment_headline(main: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """The spike of each arm as (name, figure, explanation)."""
    return [
        (row["arm"], times(row["ratio"]), f"found in {row['found']} of {row['runs']} runs")
        for row in main
    ]


def _periods(results: Mapping[str, Any], chosen: Mapping[str, int]) -> dict[str, str]:
    """The periods found, by arm, in the runs that agree with `chosen`."""
    found: dict[str, set[int]] = {}
    for run in results["runs"]:
        if run["found"] and all(run[key] == value for key, value in chosen.items()):
            found.setdefault(run["arm"], set()).add(run["period"])
    return {arm: ", ".join(map(str, sorted(periods))) for arm, periods in found.items()}


def _explanation_headline(explanation: Explanation) -> Iterator[tuple[str, str, str]]:
    """The figures at the top as (name, figure, explanation); none if no spikes were found."""
    if spikes := explanation.spikes:
        yield "Period", count(spikes.period), "steps from spike to spike"
        yield "Height", times(spikes.ratio), "the losses around it"
        yield "Spikes", count(len(spikes.rows)), f"{spikes.hits} of them among the highest losses"
    if short := explanation.short_step:
        yield "Short step", times(short.weight), "the weight of its images, against any other"
    if remedy := explanation.remedy:
        yield "Under the remedy", times(explanation.ratio_under[remedy]), remedy


def _facts(log: Log, explanation: Explanation) -> Iterator[tuple[str, str]]:
    """All known figures of the log and of its spikes, as (name, figure)."""
    yield "log", log.source
    yield "rows", count(len(log.steps))
    yield "finite losses", count(np.isfinite(log.loss).sum().item())
    if len(log.steps):
        yield "steps", f"{count(log.steps[0].item())} to {count(log.steps[-1].item())}"
    yield "steps of a pass", count(log.steps_per_epoch)
    yield "images of a full step", count(log.batch_size)
    yield "divided by", explanation.divisor or "–"
    if short := explanation.short_step:
        yield "weight of an image of the short step", times(short.weight)
        if short.gradient is not None:
            yield "gradient norm at the short step", times(short.gradient)
    if spikes := explanation.spikes:
        yield "period", f"{count(spikes.period)} steps"
        yield "phase", f"step mod {spikes.period} = {spikes.phase}"
        yield "height", times(spikes.ratio)
        yield "spikes", count(len(spikes.rows))
        yield "of them among as many highest losses", count(spikes.hits)
        yield "chance of it in a random order", number(spikes.p_value)
    for finding in explanation.findings[0 if spikes is None else 1 :]:
        name = KINDS[finding.cause].lower()
        if finding.period:
            yield f"{name}: period", f"{finding.period:.6g} steps"
        if finding.p_value is not None:
            yield f"{name}: chance of it", number(finding.p_value)
    for column, steps in explanation.aftershock.items():
        yield f"after-shock, {LABELS[column]}", f"{steps} {'step' if steps == 1 else 'steps'}"
    for divisor, ratio in explanation.ratio_under.items():
        yield f"height under {divisor}", times(ratio)
