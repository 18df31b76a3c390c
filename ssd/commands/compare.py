"""`ssd compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.text_table import text_table
from ssd.common.words import counted
from ssd.config.data import SHARE
from ssd.config.flags import CommandLine
from ssd.run.names import EVALUATION, METRICS
from ssd.run.results import StoredEvaluation, read_evaluation
from ssd.run.rows import only, read_rows
from ssd.steps import EvaluationRow, StepRow

USAGE = "ssd compare RUN_DIR RUN_DIR … [--to RUN_DIR …]"
DESCRIPTION = """
Sets the results of several runs side by side: their length, the images they have seen, their best
score while training, and that of their last evaluation with the AP of each class.

    ssd compare runs/mine runs/other
    ssd compare runs/new_0 runs/new_1 runs/new_2 --to runs/old_0 runs/old_1 runs/old_2

With --to, the runs before it and those after it are two groups, such as two recipes with some seeds
each. Their mean scores, the difference, and intervals of 95 % come from a paired bootstrap over the
images of the evaluation and over the runs of each group.
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION)
    line.add("runs", "RUN_DIR", "run folders that have been evaluated", nargs="*")
    line.add("--to", "RUN_DIR …", "runs to compare the others with, with intervals", nargs="+")
    flags = line.parse(arguments)
    folders, others = (
        [Path(run).expanduser() for run in flags.get(name) or []] for name in ("runs", "to")
    )
    if not folders:
        raise UserError(f"at least one run is needed: {USAGE}")
    if others:
        from ssd.detect.versus import versus

        print(versus(folders, others))
    else:
        print(comparison(folders))
    return 0


def comparison(folders: Sequence[Path]) -> str:
    """The table of some runs.

    Raises:
        UserError: a folder has no evaluation, or they are measured differently.
    """
    results = [evaluation_of(folder) for folder in folders]
    metrics = sorted({result.metric for result in results})
    if len(metrics) > 1:
        raise UserError(f"the runs are measured by {' and '.join(metrics)}: evaluate them alike")
    rows = [training_figures(folder) for folder in folders]
    per_class = [result.per_class for result in results]
    classes = dict.fromkeys(name for ap in per_class for name in ap)
    header = ("", *(folder.name or str(folder) for folder in folders))
    lines = [
        *((name, *(row[name] for row in rows)) for name in rows[0]),
        ("evaluated on", *map(evaluated_on, results)),
        ("evaluated at step", *(step_of(result) for result in results)),
        (f"mAP ({metrics[0]})", *(percent(result.mAP) for result in results)),
        *((name, *(percent(result.per_class.get(name)) for result in results)) for name in classes),
    ]
    table = text_table(header, lines)
    known = [
        (one.num_images, one.num_ground_truth) for one in results if one.num_images is not None
    ]
    if any(counts != known[0] for counts in known):
        told = "the runs were evaluated on different images or classes"
        table += f"\n\n{told}: their scores do not compare"
    return table


def evaluation_of(folder: Path) -> StoredEvaluation:
    """The content of a run's evaluation.json."""
    file = folder / EVALUATION
    if not file.exists():
        told = "give a run that has been evaluated (ssd evaluate RUN_DIR --checkpoint last)"
        raise UserError(f"{folder} has no {EVALUATION}: {told}")
    return read_evaluation(file)


def training_figures(folder: Path) -> dict[str, str]:
    """The figures of a run's training, as far as it has rows."""
    rows = read_rows(folder / METRICS)
    steps, evaluations = only(StepRow, rows), only(EvaluationRow, rows)
    seen = sum(row.num_images or 0 for row in steps)
    return {
        "steps": f"{steps[-1].step:,}" if steps else "–",
        "images seen": f"{seen:,}" if steps else "–",
        "best mAP": percent(max((row.mAP for row in evaluations), default=None)),
    }


def evaluated_on(result: StoredEvaluation) -> str:
    """The images that a run was evaluated on, in a few words."""
    if result.num_images is None or result.split is None:
        return "–"
    images = counted(result.num_images, "image")
    if result.split == SHARE:
        return f"{images} held out"
    names = [result.split] if isinstance(result.split, str) else result.split
    return f"{images} of {' and '.join(names)}"


def step_of(result: StoredEvaluation) -> str:
    """The step of the checkpoint that was evaluated."""
    return "–" if result.step is None else f"{result.step:,}"


def percent(value: float | None) -> str:
    """0.625 → "62.5 %", nothing → "–"."""
    return "–" if value is None or value != value else f"{100 * value:.1f} %"
