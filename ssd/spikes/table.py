"""Reads a table of losses, as other programs write it, into a Log.

Letter: `N` rows.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence

import numpy as np

from ssd.common.errors import UserError, one_line
from ssd.spikes.detect import grid_of
from ssd.spikes.log import Bools, Floats, Ints, Log

NAMES = {
    "loss": (
        "loss train_loss training_loss loss_train total_loss loss_total train_total_loss "
        "batch_loss train_loss_step loss_step value"
    ),
    "step": (
        "step global_step train_step train_global_step trainer_global_step steps iteration "
        "iterations iter it step_in_epoch batch batch_idx batch_index"
    ),
    "epoch": "epoch",
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
MISSING = {"", "na", "none", "null"}
LARGEST_STEP, LARGEST_EPOCH = 2**40, 2**20
SHOWN_NAMES = 12


def read_table(source: str, text: str, steps_per_epoch: int | None = None) -> Log:
    """The log in a table with a header, or in a bare column of losses (row i is then step i).

    If a step comes twice, as in a resumed run, its last row counts. The length of a pass is known
    where the epoch changes at a constant distance, or where the steps count within a pass.

    Raises:
        UserError: no column is a loss, it holds no numbers, or each row is a whole epoch.
    """
    names, rows = _split(source, text)
    found = _find_columns(source, names)
    columns = {role: _column(rows, index) for role, index in found.items()}
    present = _check_losses(source, rows, found["loss"], columns["loss"])
    epoch = _whole_epochs(columns)
    if epoch is not None and len(np.unique(epoch)) == len(epoch) > 1:
        raise UserError(
            f"{source}: has one row per epoch, in which a spike within the epoch cannot be seen; "
            "log the loss of every batch instead"
        )
    if "step" not in found:
        return _log(source, np.arange(len(rows), dtype=np.int64), columns)
    counter = columns.pop("step")
    keep = present & (np.abs(counter) <= LARGEST_STEP) & (counter == np.floor(counter))
    if not keep.any():
        raise UserError(f"{source}: no row has both a step and a loss; fix those columns")
    columns = {role: values[keep] for role, values in columns.items()}
    steps = counter[keep].astype(np.int64)
    within_pass = _normalised(names[found["step"]]) in WITHIN_PASS
    steps, length = _count_through(steps, _whole_epochs(columns), within_pass, steps_per_epoch)
    steps, reversed_rows = np.unique(steps[::-1], return_index=True)
    last_rows = -1 - reversed_rows
    return _log(
        source, steps, {role: values[last_rows] for role, values in columns.items()}, length
    )


def _log(source: str, steps: Ints, columns: dict[str, Floats], length: int | None = None) -> Log:
    """The log; `length` is that of a pass, if the steps have been counted within passes, from 0."""
    first_step = first_of(steps) if length is None else 0
    if length is None and (found := _passes(steps, _whole_epochs(columns))):
        length, first_step = found
    known = {role: values for role, values in columns.items() if not np.isnan(values).all()}
    known.pop("loss", None)
    images = known.get("num_images", np.zeros(1))
    if images[-1] > 2 * images[0] and (np.diff(images) >= 0).all():
        del known["num_images"]  # it counts all images so far
        images = np.zeros(1)
    most = float(np.nanmax(images))
    return Log(
        source=source,
        steps=steps,
        loss=columns["loss"],
        columns=known,
        steps_per_epoch=length,
        first_step=first_step,
        batch_size=int(most) if 1 <= most <= LARGEST_STEP else None,
    )


def _split(source: str, text: str) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the cells of each row."""
    stripped = (line.strip(" ") for line in text.splitlines())
    lines = [line for line in stripped if line.strip() and not line.startswith("#")]
    if not lines:
        raise UserError(f"{source}: has no rows; give a CSV or a column of losses")
    delimiter = max(",;\t", key=lines[0].count)
    try:
        if delimiter in lines[0]:
            rows = [next(csv.reader([line], delimiter=delimiter)) for line in lines]
        elif len({len(line.split()) for line in lines[:2]}) == 1:
            rows = [line.split() for line in lines]
        else:
            rows = [[line] for line in lines]
    except csv.Error as problem:
        raise UserError(f"{source}: is not a table ({one_line(problem)}); give a CSV") from None
    if any(_number(cell) is None and not _is_missing(cell) for cell in rows[0]):
        if len(rows) == 1:
            raise UserError(f"{source}: has a header, but no rows; give the log of some steps")
        return rows[0], rows[1:]
    if len(rows[0]) > 1:
        raise UserError(
            f"{source}: has {len(rows[0])} columns without names; put a header over them, "
            "such as step,loss"
        )
    return ["loss"], rows


def _find_columns(source: str, names: Sequence[str]) -> dict[str, int]:
    """The column index of each role that has a column."""
    known = [_normalised(name) for name in names]
    found = {}
    for role, aliases in NAMES.items():
        index = next((known.index(alias) for alias in aliases.split() if alias in known), None)
        if index is not None:
            found[role] = index
    if "loss" not in found:
        words = [set(name.split("_")) for name in known]
        losses = [i for i, w in enumerate(words) if "loss" in w and not w & NOT_OF_TRAINING]
        if len(losses) != 1:
            what = "several columns may be the loss" if losses else "no column is the loss"
            shown = ", ".join(repr(name[:40]) for name in names[:SHOWN_NAMES])
            more = ", …" if len(names) > SHOWN_NAMES else ""
            raise UserError(f"{source}: {what}; found {shown}{more}: name one of them loss")
        found["loss"] = losses[0]
    return found


def _normalised(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _column(rows: Sequence[Sequence[str]], index: int) -> Floats:
    """The numbers [N] of a column; NaN where there is none."""
    numbers = (_number(row[index]) if index < len(row) else None for row in rows)
    return np.array([math.nan if number is None else number for number in numbers], np.float64)


def _check_losses(source: str, rows: Sequence[Sequence[str]], index: int, losses: Floats) -> Bools:
    """The mask [N] of rows with a loss, `nan` included; refuses a mostly non-numeric column."""
    cells = [row[index] if index < len(row) else "" for row in rows]
    present = np.array([not _is_missing(cell) for cell in cells])
    odd = [i for i in np.flatnonzero(np.isnan(losses) & present) if _number(cells[i]) is None]
    if not present.any():
        raise UserError(f"{source}: the loss column is empty; give the log of some steps")
    if 2 * len(odd) > present.sum():
        raise UserError(
            f"{source}: most losses are not numbers, such as {cells[odd[0]][:40]!r} in row "
            f"{odd[0] + 1}; write them like 1.25"
        )
    return present


def _whole_epochs(columns: dict[str, Floats]) -> Ints | None:
    """The epoch [N] of each row; None where it is unknown or not always a whole number."""
    epoch = columns.get("epoch")
    if epoch is None or not (np.abs(epoch) <= LARGEST_EPOCH).all():
        return None
    whole = epoch.astype(np.int64)
    return whole if (whole == epoch).all() else None


def _count_through(
    counter: Ints, epoch: Ints | None, within_pass: bool, steps_per_epoch: int | None
) -> tuple[Ints, int | None]:
    """The steps [N] over all passes, and the length of a pass if `counter` restarts in each.

    If only every n-th step is logged, the number of steps after the last row of a pass is unknown.
    """
    falls = np.diff(counter) < 0
    if epoch is not None and falls.any():
        within_pass = bool(np.mean(np.diff(epoch)[falls] > 0) > 0.5)
    if not (within_pass and falls.any()):
        return counter, None
    reach = int(counter.max() - counter.min())
    stride, _ = grid_of(np.unique(counter))
    length = steps_per_epoch if steps_per_epoch and steps_per_epoch > reach else reach + stride
    passes = np.append(0, np.cumsum(falls)) if epoch is None else epoch - epoch.min()
    known = stride == 1 or length == steps_per_epoch
    return passes * length + counter - counter.min(), length if known else None


def first_of(steps: Ints) -> int | None:
    """The number of the run's first step, 0 or 1; None where the log does not start with the run.

    A log of every tenth step has 9, 19 … if the run counts from 0, and 10, 20 … if from 1.
    """
    stride, _ = grid_of(steps)
    if steps[0] > max(stride, 1):
        return None
    counts_from_0 = steps[0] == 0 or (stride > 1 and steps[0] % stride == stride - 1)
    return 0 if counts_from_0 else 1


def _passes(steps: Ints, epoch: Ints | None) -> tuple[int, int] | None:
    """The length of a pass and a step that begins one, where most epochs agree on them."""
    if epoch is None:
        return None
    begins = np.flatnonzero(np.diff(epoch) == 1) + 1
    starts = steps[begins]
    lengths, counts = np.unique(np.diff(starts)[np.diff(epoch[begins]) == 1], return_counts=True)
    if not len(lengths):
        return None
    if counts.max() <= counts.sum() / 2 or grid_of(steps)[0] > 1:
        return None
    length = int(lengths[counts.argmax()])
    phases, counts = np.unique(starts % length, return_counts=True)
    return length, int(phases[counts.argmax()])
