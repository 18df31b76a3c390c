"""Reads logs of JSON: one object, or one for each line, by the keys that they have.

| what it looks like | what wrote it |
|---|---|
| an object with `log_history` | Hugging Face's Trainer: trainer_state.json |
| lines with `iteration` and `total_loss` | detectron2: metrics.json |
| lines with `mode` and `iter` | mmcv: *.log.json |
| lines with `iter` and `step` | mmengine: scalars.json |
| lines after `DLLL`, or with `type` LOG and `data` | NVIDIA's dllogger |
| lines after `:::MLLOG` | MLPerf |
| any other lines or list of objects | columns by their keys |

Letter: `N` rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ssd.common.errors import UserError
from ssd.spikes.formats.table import (
    COLUMNS_THAT_DO,
    Chosen,
    Table,
    find_columns,
    numbers_of,
    table_of,
)

Row = dict[str, Any]
DLLOGGER, MLPERF = "DLLL ", ":::MLLOG "
LONGEST_PREFIX = 200


def read_json(source: str, text: str, chosen: Chosen) -> list[Table]:
    """The log in JSON, or in lines of JSON; a line that is cut off is left out.

    Raises:
        UserError: it holds no rows, or no key is a loss.
    """
    whole = _decode(text) if text.lstrip()[:1] == "[" or '"log_history"' in text else None
    if isinstance(whole, dict) and isinstance(whole.get("log_history"), list):
        return [_of_trainer(source, whole, chosen)]
    items = whole if isinstance(whole, list) else map(_decode, text.splitlines())
    rows = [_flat(row) for row in items if isinstance(row, dict)]
    if not rows:
        raise UserError(f"{source}: has no rows that are JSON objects; {COLUMNS_THAT_DO}")
    return [_table(source, [row for row in rows if row.get("mode", "train") == "train"], chosen)]


def read_prefixed(source: str, text: str, chosen: Chosen) -> list[Table]:
    """The log in lines of dllogger or MLPerf, which may stand among others.

    Raises:
        UserError: no row has a loss.
    """
    rows: list[Row] = []
    batch_size = None
    for line in text.splitlines():
        at = max(line.find(mark, 0, LONGEST_PREFIX) for mark in (DLLOGGER, MLPERF))
        item = _decode(line[line.find("{", at) :]) if at >= 0 else None
        if not isinstance(item, dict):
            continue
        if "key" in item:
            if item["key"] == "global_batch_size" and type(item.get("value")) is int:
                batch_size = item["value"] if 0 < item["value"] < 2**40 else None
            metadata = item.get("metadata")
            row = metadata if isinstance(metadata, dict) else {}
            rows.append({**row, str(item["key"]): item.get("value")})
        else:
            rows.append(_flat(item))
    if not rows:
        raise UserError(f"{source}: has no rows that are JSON objects; {COLUMNS_THAT_DO}")
    return [_table(source, rows, chosen, batch_size=batch_size)]


def _of_trainer(source: str, state: Row, chosen: Chosen) -> Table:
    """The table of Hugging Face's Trainer, whose losses are means since the row before."""
    rows = [row for row in state["log_history"] if isinstance(row, dict)]
    if not rows:
        raise UserError(f"{source}: its log_history is empty; give that of a run that has logged")
    return _table(source, rows, chosen, window="stride")


def _table(source: str, rows: Sequence[Row], chosen: Chosen, **more: Any) -> Table:
    """The table of rows, whose columns are their keys."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    found = find_columns(source, names, chosen)
    columns = {
        part: numbers_of([row.get(names[index]) for row in rows]) for part, index in found.items()
    }
    loss = names[found["loss"]]
    present = np.array([row.get(loss) is not None for row in rows], np.bool_)
    if not present.any():
        raise UserError(f"{source}: the loss column is empty; give the log of some steps")
    if {"iteration", "total_loss"} <= set(names) and loss == "total_loss":
        more = {"window": "median"} | more  # detectron2 logs a median of 20 steps
    elif "mode" in names:
        more = {"window": "stride"} | more  # mmcv logs the mean since the row before
    step_name = names[found["step"]] if "step" in found else ""
    return table_of(columns, present, step_name, **more)


def _flat(row: Row) -> Row:
    """A row of dllogger as its data, with the epoch and the iteration of its step."""
    data, step = row.get("data"), row.get("step")
    if not isinstance(data, dict) or row.get("type", "LOG") != "LOG":
        return row
    places = step if isinstance(step, list) else [step]
    names = ("step",) if len(places) == 1 else ("epoch", "step")
    if isinstance(step, list) and len(places) == 1:
        return {}  # the figures of a whole epoch
    return {**data, **dict(zip(names, places, strict=False))}


def _decode(text: str) -> Any:
    """The value in a text of JSON, in which Python's NaN may stand; None if it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
