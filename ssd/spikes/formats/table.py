"""The columns of a log as a file has them, before its steps are counted, and their names.

Letter: `N` rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import shown
from ssd.spikes.log import Bools, Floats

# By the part that a column plays: the names that it may have, the likeliest first.
NAMES = {
    "loss": (
        "loss train_loss training_loss loss_train total_loss loss_total train_total_loss "
        "batch_loss train_loss_step loss_step value"
    ),
    "step": (
        "step global_step train_step train_global_step trainer_global_step steps step_num "
        "iteration iterations iter iter_num it step_in_epoch batch batch_idx batch_index"
    ),
    "samples": "samples samples_count num_samples samples_seen consumed_samples examples_seen",
    "epoch": "epoch train_epoch epoch_num",
    "lr": "lr learning_rate train_lr train_learning_rate optimizer_lr",
    "grad_norm": "grad_norm gradient_norm train_grad_norm optimizer_grad_norm",
    "momentum_norm": "momentum_norm",
    "num_images": "num_images images batch_size",
    "num_positives": "num_positives",
    "divisor": "divisor",
    "clipped": "clipped",
}
NOT_OF_TRAINING = {"val", "valid", "validation", "eval", "test", "min", "max"}
WITHIN_PASS = {"step_in_epoch", "batch", "batch_idx", "batch_index"}
COLUMNS_THAT_DO = (
    "give a table with a column for the loss and, if possible, one for the step and one for the "
    "epoch (--loss-column, --step-column, --epoch-column)"
)
SHOWN_NAMES = 12


@dataclass(frozen=True)
class Chosen:
    """The names of the columns that the user chose; None: found by their usual names."""

    loss: str | None = None
    step: str | None = None
    epoch: str | None = None


@dataclass(frozen=True)
class Table:
    """The rows of one log of a file, in the order of the file.

    Attributes:
        columns: [N] each, by the part they play: `loss` and, where there are any, `step`, `epoch`,
            `of` (the steps of a pass as the row says them), `lr` …; NaN where a row has none.
        present: [N] whether the row has a loss, be it NaN.
        run: its name, where the file holds several.
        within_pass: whether `step` counts anew in each pass.
        counts_samples: whether `step` counts samples.
        base: the number of the first step of a pass, where `step` counts anew; None: unknown.
        batch_size: images of a full step, or None.
        window: as in `Log`; "stride" if a row is the mean of the steps since the row before.
        note: what there is to say of it, in sentences.
    """

    columns: Mapping[str, Floats]
    present: Bools
    run: str = ""
    within_pass: bool = False
    counts_samples: bool = False
    base: int | None = None
    batch_size: int | None = None
    window: int | str | None = None
    note: str = ""


def find_columns(source: str, names: Sequence[str], chosen: Chosen) -> dict[str, int]:
    """The index of the column for each part that has one; `samples` only if there is no step.

    Raises:
        UserError: no column is the loss, or several may be, or a chosen one is not there.
    """
    known = [normalised(name) for name in names]
    found = {}
    for part, aliases in NAMES.items():
        wanted = getattr(chosen, part, None)
        if wanted is not None:
            if wanted not in names:
                raise UserError(f"{source}: has no column {wanted!r}; found {_listed(names)}")
            found[part] = names.index(wanted)
            continue
        index = next((known.index(alias) for alias in aliases.split() if alias in known), None)
        if index is not None:
            found[part] = index
    if "loss" not in found:
        losses = [i for i, name in enumerate(names) if is_training_loss(name)]
        if len(losses) != 1:
            what = "several columns may be the loss" if losses else "no column is the loss"
            raise UserError(
                f"{source}: {what}; found {_listed(names)}: name it with --loss-column, and, "
                "where they are not found, --step-column and --epoch-column"
            )
        found["loss"] = losses[0]
    if "step" in found:
        found.pop("samples", None)
    return found


def table_of(
    columns: Mapping[str, Floats], present: Bools, step_name: str = "", **more: Any
) -> Table:
    """A table, with what the name of its step column tells of how it counts."""
    columns = dict(columns)
    counts_samples = "samples" in columns
    if counts_samples:
        columns["step"] = columns.pop("samples")
    within_pass = normalised(step_name) in WITHIN_PASS
    return Table(columns, present, within_pass=within_pass, counts_samples=counts_samples, **more)


def is_training_loss(name: str) -> bool:
    """Whether a column or tag with this name holds a loss that is not of an evaluation."""
    words = set(normalised(name).split("_"))
    return "loss" in words and not words & NOT_OF_TRAINING


def normalised(name: str) -> str:
    """The name in small letters, its words joined by underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def numbers_of(cells: Sequence[Any]) -> Floats:
    """The numbers [N] in cells of text or of JSON; NaN where there is none."""
    try:
        return np.array(cells, np.float64)
    except (ValueError, TypeError, OverflowError):
        return np.array([_number(cell) for cell in cells], np.float64)


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (ValueError, TypeError, OverflowError):
        return np.nan


def _listed(names: Sequence[str]) -> str:
    return shown([repr(name[:40]) for name in names], SHOWN_NAMES)
