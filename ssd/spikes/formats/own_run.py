"""Reads the run of this framework: its metrics.jsonl, and the config.yaml beside it.

Letter: `N` rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import read_regular
from ssd.config import DIVISORS
from ssd.config.settings import load_yaml
from ssd.run.names import CONFIG
from ssd.run.rows import column, only, read_rows
from ssd.spikes.counting import LARGEST_STEP
from ssd.spikes.log import Floats, Log
from ssd.steps import StepRow

RUN_COLUMNS = (
    "epoch",
    "lr",
    "grad_norm",
    "momentum_norm",
    "num_images",
    "num_positives",
    "divisor",
    "clipped",
    "skipped",
)


def run_log(file: Path) -> Log:
    """The log in a metrics.jsonl, with the divisor from the config.yaml beside it.

    Raises:
        UserError: it has no training step, or the config is no YAML.
    """
    rows = [row for row in only(StepRow, read_rows(file)) if 0 <= row.step <= LARGEST_STEP]
    if not rows:
        raise UserError(
            f'{file}: has no training step (a line with "kind": "train", "step" and "loss"); '
            "give the metrics.jsonl of a run that has made some steps"
        )
    return log_of_rows(rows, str(file), *_division_of(file.with_name(CONFIG)))


def log_of_rows(
    rows: Sequence[StepRow],
    source: str,
    divisor: str | None = None,
    short_step: str | None = None,
) -> Log:
    """The log of training steps of this framework.

    Args:
        rows: at least one.
        source: the origin of the rows.
        divisor: the run's `loss.divisor`, if known.
        short_step: its `loss.short_step`, if known.
    """
    loss = column(rows, "loss")
    columns = {name: column(rows, name) for name in RUN_COLUMNS}
    known = {name: values for name, values in columns.items() if not np.isnan(values).all()}
    length, first_step = _pass_of(rows[-1])
    return Log(
        source=source,
        steps=np.array([row.step for row in rows], np.int64),
        loss=loss,
        columns=known,
        losses_under=_losses_under(rows, loss, known),
        steps_per_epoch=length,
        first_step=first_step,
        batch_size=_most_images(known.get("num_images")),
        divisor=divisor,
        short_step=short_step,
        shuffled=True,
        window=1,
    )


def _pass_of(row: StepRow) -> tuple[int | None, int]:
    """The steps of a pass, and the first step of one, from the last row of a run."""
    length, place = row.steps_per_epoch, row.step_in_epoch
    if length is None or place is None or not 0 <= place < length:
        return None, 1
    return length, (row.step - place - 1) % length + 1


def _losses_under(
    rows: Sequence[StepRow], loss: Floats, columns: dict[str, Floats]
) -> dict[str, Floats]:
    """The losses [N] under each divisor; an older run logs enough to compute `step_positives`."""
    losses = {
        name: np.array([row.loss_under.get(name, math.nan) for row in rows]) for name in DIVISORS
    }
    if np.isnan(losses["step_positives"]).all() and {"divisor", "num_positives"} <= columns.keys():
        positives = np.maximum(columns["num_positives"], 1)
        with np.errstate(all="ignore"):  # the run may have diverged
            losses["step_positives"] = loss * columns["divisor"] / positives
    return {name: values for name, values in losses.items() if not np.isnan(values).all()}


def _most_images(num_images: Floats | None) -> int | None:
    """The images of a full step, over all micro-batches and ranks: no step has more."""
    if num_images is None:
        return None
    most = float(np.nanmax(num_images))
    return int(most) if 1 <= most <= LARGEST_STEP else None


def _division_of(config: Path) -> tuple[str | None, str | None]:
    """`loss.divisor` and `loss.short_step` of a config.yaml; None where they are unknown."""
    if not config.exists():
        return None, None
    try:
        settings = load_yaml(read_regular(config).decode())
    except (OSError, ValueError) as problem:
        why = one_line(problem)[:200]
        raise UserError(f"{config}: is not YAML ({why}); fix it or remove it") from None
    section = settings.get("loss") if isinstance(settings, dict) else None
    if not isinstance(section, dict) or section.get("divisor") not in DIVISORS:
        return None, None
    # A run that is older than this setting counted every step in full.
    return section["divisor"], section.get("short_step", "full")
