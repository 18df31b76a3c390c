"""Reads the log of a run of this framework, or any table of losses.

The content decides the format: lines of JSON are a run's metrics.jsonl; all else is a table with a
header (TensorBoard's CSV export, Keras' CSVLogger, any CSV or TSV), or a bare column of losses.

Letter: `N` rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import read_regular
from ssd.config import DIVISORS
from ssd.config.settings import load_yaml
from ssd.run.names import CONFIG, METRICS
from ssd.run.rows import column, only, read_rows
from ssd.spikes.log import Floats, Log
from ssd.spikes.table import LARGEST_STEP, first_of, read_table
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
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_log(path: Path, steps_per_epoch: int | None = None, batch_size: int | None = None) -> Log:
    """The log in a run folder, a metrics.jsonl, a CSV or TSV, or a column of numbers.

    Args:
        path: the folder or file. A table needs a column `loss` (or `train_loss`, TensorBoard's
            `Value` …) and may have `step`, `epoch`, `lr`, `grad_norm`, `num_images`; a column of
            numbers has one loss per line, in order of steps. Losses may be missing or `nan`.
        steps_per_epoch: optimizer steps of a pass; overrides what the file says.
        batch_size: images of a full step; overrides what the file says.

    Raises:
        UserError: there is no log in it, or a given number is below 1.
    """
    for name, value in (("steps per epoch", steps_per_epoch), ("batch size", batch_size)):
        if value is not None and value < 1:
            raise UserError(f"the {name} given is {value}, but has to be at least 1")
    file = _file_of(path)
    content = _read_bytes(file)
    if content.lstrip().startswith(b"{"):
        log = _run_log(file)
    else:
        log = read_table(str(path), _decode(file, content), steps_per_epoch)
    if steps_per_epoch not in (None, log.steps_per_epoch):
        log = replace(log, steps_per_epoch=steps_per_epoch)
    return replace(log, source=str(path), batch_size=batch_size or log.batch_size)


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    if not (path / METRICS).exists():
        raise UserError(f"{path}: has no {METRICS}; give a run folder or a file of losses")
    return path / METRICS


def _read_bytes(file: Path) -> bytes:
    try:
        content = read_regular(file)
    except (OSError, ValueError) as problem:
        why = "there is no such file" if isinstance(problem, FileNotFoundError) else problem
        raise UserError(
            f"{file}: cannot be read ({why}); give a run folder or a file of losses"
        ) from None
    if not content.strip():
        raise UserError(f"{file}: is empty; give the log of a run that has made some steps")
    return content


def _decode(file: Path, content: bytes) -> str:
    """Decodes UTF-8 text; letters of other encodings matter only in names and are replaced."""
    if content.startswith(UTF_16):
        raise UserError(f"{file}: is UTF-16; save it as UTF-8 text")
    if b"\0" in content:
        raise UserError(
            f"{file}: is binary, not text; export the losses as CSV "
            "(TensorBoard: the download link of the loss's chart)"
        )
    return content.decode("utf-8-sig", errors="replace")


def _run_log(file: Path) -> Log:
    """The log of a run of this framework, with the divisor from the config.yaml beside it."""
    rows = [row for row in only(StepRow, read_rows(file)) if 0 <= row.step <= LARGEST_STEP]
    if not rows:
        raise UserError(
            f'{file}: has no training step (a line with "kind": "train", "step" and "loss"); '
            "give the metrics.jsonl of a run that has made some steps"
        )
    return log_of_rows(rows, str(file), *_division_of(file.with_name(CONFIG)))


def log_of_losses(
    losses: npt.ArrayLike,
    steps: npt.ArrayLike | None = None,
    steps_per_epoch: int | None = None,
    batch_size: int | None = None,
) -> Log:
    """The log of losses that are at hand as numbers.

    Args:
        losses: [N].
        steps: [N] their optimizer steps, rising; without them, every step from 1 on.
        steps_per_epoch: optimizer steps of a pass over the data, if known.
        batch_size: images of a full step, if known.

    Raises:
        UserError: there are no losses, or the steps do not rise or are not as many.
    """
    values = np.atleast_1d(np.asarray(losses, np.float64))
    counted = np.arange(1, len(values) + 1) if steps is None else np.asarray(steps, np.int64)
    if values.ndim != 1 or not len(values) or counted.shape != values.shape:
        raise UserError(
            f"losses of shape {values.shape} and steps of shape {counted.shape}: give "
            "one loss for each step"
        )
    if (np.diff(counted) <= 0).any():
        raise UserError("the steps do not rise: count them through all passes")
    return Log(
        source="losses",
        steps=counted,
        loss=values,
        steps_per_epoch=steps_per_epoch,
        first_step=first_of(counted),
        batch_size=batch_size,
    )


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
