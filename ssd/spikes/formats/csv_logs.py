"""Reads tables of text: a header and columns, or a bare column of losses.

A header tells what wrote the table: TensorBoard's download of a chart, the export of a chart of
Weights & Biases with a column for each run, Lightning's metrics.csv, Keras' CSVLogger, or anything
with a column for the loss. Cells are separated by commas, semicolons, tabs or spaces.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain

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
    names, cells = _split(source, text)
    if any(f"{name}__MIN" in names for name in names) and chosen.loss is None:
        return _of_chart(source, names, cells)
    found = find_columns(source, names, chosen)
    columns = {part: numbers_of(cells[index]) for part, index in found.items()}
    present = _check_losses(source, cells[found["loss"]], columns["loss"])
    if len(names) == 1:
        present[:] = True  # each row is a step, be its loss missing
    step_name = names[found["step"]] if "step" in found else ""
    is_sample = names == TENSORBOARD and len(present) == SAMPLE
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


def _of_chart(source: str, names: Sequence[str], cells: Sequence[list[str]]) -> list[Table]:
    """The runs of a chart of Weights & Biases: the step, then `RUN - METRIC` for each run."""
    charted = [name for name in names if f"{name}__MIN" in names]
    losses = [name for name in charted if is_training_loss(name.rpartition(" - ")[2])]
    if not losses:
        raise UserError(f"{source}: no run of the chart has a loss; {COLUMNS_THAT_DO}")
    steps = numbers_of(cells[0])
    runs = [name.rpartition(" - ")[0] for name in losses]
    tables = []
    for name, run in zip(losses, runs, strict=True):
        losses_of_run = cells[names.index(name)]
        metric = name.rpartition(" - ")[2]
        columns = {"step": steps, "loss": numbers_of(losses_of_run)}
        present = np.array([not _is_missing(cell) for cell in losses_of_run])
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
    """The names of the columns, and the cells of each; a row that is too short has empty ones."""
    stripped = (line.strip(" ") for line in text.splitlines())
    lines = [line for line in stripped if line and line[0] != "#" and not line.isspace()]
    if not lines:
        raise UserError(f"{source}: has no rows; give a CSV or a column of losses")
    rows = _rows(lines)
    try:
        first = next(rows, [])
        width, missing = len(first), [""] * len(first)
        rest = (row if len(row) == width else (row + missing)[:width] for row in rows)
        cells = list(chain.from_iterable(rest))  # a list for each row would take three times longer
    except csv.Error as problem:
        raise UserError(f"{source}: is not a table ({one_line(problem)}); give a CSV") from None
    if not first:
        raise UserError(f"{source}: is not a table (a quote has no partner); give a CSV")
    if any(not NUMBER.match(cell.strip()) and not _is_missing(cell) for cell in first):
        if not cells:
            raise UserError(f"{source}: has a header, but no rows; give the log of some steps")
        return [name.strip() for name in first], [cells[index::width] for index in range(width)]
    if width > 1:
        raise UserError(
            f"{source}: has {width} columns without names; put a header over them, "
            "such as step,loss"
        )
    return ["loss"], [first + cells]


def _rows(lines: Sequence[str]) -> Iterator[list[str]]:
    """The cells of each line, or of each row of several where a quoted cell has line breaks."""
    delimiter = next((each for each in "\t;," if each in lines[0]), None)
    if delimiter is None:
        is_spaced = len({len(line.split()) for line in lines[:2]}) == 1
        return (line.split() if is_spaced else [line] for line in lines)
    # A quote without its partner would take the lines after it into its cell.
    return csv.reader((line for line in lines if line.count('"') % 2 == 0), delimiter=delimiter)


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
