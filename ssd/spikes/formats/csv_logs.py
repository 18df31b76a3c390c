"""Reads tables of text: a header and columns, or a bare column of losses.

A header tells what wrote the table: TensorBoard's download of a chart, the export of a chart of
Weights & Biases with a column for each run, Lightning's metrics.csv, Keras' CSVLogger, or anything
with a column for the loss. Cells are separated by commas, semicolons, tabs or spaces.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

import numpy as np

from ssd.common.errors import UserError, one_line
from ssd.spikes.formats.table import (
    COLUMNS_THAT_DO,
    Chosen,
    Table,
    find_columns,
    is_training_loss,
    normalised,
    numbers_of,
    table_of,
)
from ssd.spikes.log import Bools, Floats

TENSORBOARD = ["Wall time", "Step", "Value"]
SAMPLE = 1000  # rows that TensorBoard keeps of a chart
MISSING = {"", "na", "none", "null"}
NUMBER = re.compile(r"[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+|inf|nan)\s*$", re.IGNORECASE)


def read_csv(source: str, text: str, chosen: Chosen) -> list[Table]:
    """The logs in a table: one for each run of an export of Weights & Biases, one of all others.

    Raises:
        UserError: it is no table, no column is a loss, or it holds no numbers.
    """
    names, rows = _split(source, text)
    if any(f"{name}__MIN" in names for name in names) and chosen.loss is None:
        return _of_chart(source, names, rows)
    found = find_columns(source, names, chosen)
    columns = {part: numbers_of(_cells(rows, index)) for part, index in found.items()}
    cells = _cells(rows, found["loss"])
    present = _check_losses(source, cells, columns["loss"])
    if len(names) == 1:
        present[:] = True  # each row is a step, be its loss missing
    step_name = names[found["step"]] if "step" in found else ""
    is_sample = names == TENSORBOARD and len(rows) == SAMPLE
    is_own = normalised(names[found["loss"]]).endswith("loss_step")  # of Lightning
    table = table_of(
        columns,
        present,
        step_name,
        window=1 if is_own else None,
        note=(
            "TensorBoard's download holds a sample of 1,000 points: give the event file itself "
            "to see every step."
            if is_sample
            else ""
        ),
    )
    return [table]


def _of_chart(source: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Table]:
    """The runs of a chart of Weights & Biases: the step, then `RUN - METRIC` for each run."""
    charted = [name for name in names if f"{name}__MIN" in names]
    losses = [name for name in charted if is_training_loss(name.rpartition(" - ")[2])]
    if not losses:
        raise UserError(f"{source}: no run of the chart has a loss; {COLUMNS_THAT_DO}")
    steps = numbers_of(_cells(rows, 0))
    runs = [name.rpartition(" - ")[0] for name in losses]
    tables = []
    for name, run in zip(losses, runs, strict=True):
        cells = _cells(rows, names.index(name))
        metric = name.rpartition(" - ")[2]
        columns = {"step": steps, "loss": numbers_of(cells)}
        present = np.array([not _is_missing(cell) for cell in cells])
        if present.any():
            tables.append(
                table_of(
                    columns,
                    present,
                    run="" if len(losses) == 1 else run if runs.count(run) == 1 else name,
                    # Keras' callback logs what Keras shows: a mean since the epoch began.
                    window="running" if metric == "batch/loss" else None,
                )
            )
    return tables


def _split(source: str, text: str) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the cells of each row."""
    stripped = (line.strip(" ") for line in text.splitlines())
    lines = [line for line in stripped if line and line[0] != "#" and not line.isspace()]
    if not lines:
        raise UserError(f"{source}: has no rows; give a CSV or a column of losses")
    header = lines[0]
    delimiter = next((each for each in "\t;," if each in header), None)
    if delimiter is None:
        is_spaced = len({len(line.split()) for line in lines[:2]}) == 1
        rows = [line.split() if is_spaced else [line] for line in lines]
    else:
        # A quote without its partner would take the lines after it into its cell.
        whole = [line for line in lines if line.count('"') % 2 == 0]
        try:
            rows = list(csv.reader(whole, delimiter=delimiter))
        except csv.Error as problem:
            raise UserError(f"{source}: is not a table ({one_line(problem)}); give a CSV") from None
    if not rows:
        raise UserError(f"{source}: is not a table (a quote has no partner); give a CSV")
    if any(not NUMBER.match(cell.strip()) and not _is_missing(cell) for cell in rows[0]):
        if len(rows) == 1:
            raise UserError(f"{source}: has a header, but no rows; give the log of some steps")
        return [name.strip() for name in rows[0]], rows[1:]
    if len(rows[0]) > 1:
        raise UserError(
            f"{source}: has {len(rows[0])} columns without names; put a header over them, "
            "such as step,loss"
        )
    return ["loss"], rows


def _cells(rows: Sequence[Sequence[str]], index: int) -> list[str]:
    return [row[index] if index < len(row) else "" for row in rows]


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _check_losses(source: str, cells: Sequence[str], losses: Floats) -> Bools:
    """The mask [N] of rows with a loss, `nan` included; refuses a mostly non-numeric column."""
    present = ~np.isnan(losses)
    for row in np.flatnonzero(~present).tolist():
        present[row] = not _is_missing(cells[row])
    if not present.any():
        raise UserError(f"{source}: the loss column is empty; give the log of some steps")
    unknown = np.flatnonzero(np.isnan(losses) & present).tolist()
    odd = [i for i in unknown if not NUMBER.match(cells[i].strip())]
    if 2 * len(odd) > present.sum():
        raise UserError(
            f"{source}: most losses are not numbers, such as {cells[odd[0]][:40]!r} in row "
            f"{odd[0] + 1}; write them like 1.25"
        )
    return present
