"""Makes logs of a table: its steps are counted, its runs told apart and named.

Letters: `N` rows of a table, `M` rows of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ssd.common.errors import UserError
from ssd.spikes.counting import LARGEST_STEP, Run, count_steps
from ssd.spikes.formats.table import Table
from ssd.spikes.log import Floats, Ints, Log
from ssd.spikes.pass_length import stride_of

COUNTED = ("loss", "step", "of")
ONE_ROW_PER_EPOCH = (
    "has one row per epoch, in which a spike within the epoch cannot be seen; log the loss of "
    "every batch instead"
)


def logs_of(
    source: str, table: Table, steps_per_epoch: int | None = None, batch_size: int | None = None
) -> list[Log]:
    """The logs of the runs in a table.

    Args:
        source: the origin of the log, as the user named it.
        table: its rows.
        steps_per_epoch: optimizer steps of a pass, if the user gives them.
        batch_size: images of a full step, if the user gives them.

    Raises:
        UserError: no row has both a step and a loss, or each row is a whole epoch.
    """
    columns = {name: values[table.present] for name, values in table.columns.items()}
    if _has_one_row_per_epoch(columns):
        raise UserError(f"{source}: {ONE_ROW_PER_EPOCH}")
    counter, epoch, of = (columns.get(name) for name in ("step", "epoch", "of"))
    batch_size = batch_size or table.batch_size
    exact = True
    if counter is not None and table.counts_samples:
        counter, exact = _steps_of_samples(counter, batch_size)
    runs = count_steps(
        len(columns["loss"]), counter, epoch, of, table.within_pass, table.base, steps_per_epoch
    )
    if not runs:
        raise UserError(f"{source}: no row has both a step and a loss; fix those columns")
    logs = []
    for number, run in enumerate(runs, start=1):
        name = table.run
        if len(runs) > 1:
            name = f"{name}, run {number}" if name else f"run {number}"
        log = _log(table, columns, run)
        log = replace(log, source=source, run=name, exact=log.exact and exact)
        logs.append(told(log, steps_per_epoch, batch_size))
    return logs


def _has_one_row_per_epoch(columns: Mapping[str, Floats]) -> bool:
    epoch = columns.get("epoch")
    if epoch is None or len(epoch) < 2 or not (epoch == np.floor(epoch)).all():
        return False
    return len(np.unique(epoch)) == len(epoch)


def _steps_of_samples(samples: Floats, batch_size: int | None) -> tuple[Floats, bool]:
    """The steps [N] of an axis that counts samples, and whether they are certain.

    The unit is the batch size or, if that is unknown, the most common distance of the rows.
    """
    whole = samples[(samples == np.floor(samples)) & (np.abs(samples) <= LARGEST_STEP)].astype(
        np.int64
    )
    unit = batch_size or stride_of(whole)
    return np.round(samples / unit), bool(len(whole) and (whole % unit == 0).all())


def _log(table: Table, columns: Mapping[str, Floats], run: Run) -> Log:
    """The log of one run, but for its names."""
    known = {name: values[run.rows] for name, values in columns.items() if name not in COUNTED}
    known = {name: values for name, values in known.items() if not np.isnan(values).all()}
    images = known.get("num_images", np.zeros(1))
    if images[-1] > 2 * images[0] and (np.diff(images) >= 0).all():
        del known["num_images"]  # it counts all images so far
        images = np.zeros(1)
    most = float(np.nanmax(images))
    notes = [table.note] if table.note else []
    if run.num_replaced:
        rows = "1 row was" if run.num_replaced == 1 else f"{run.num_replaced} rows were"
        notes.append(f"The run was resumed: {rows} replaced by later ones of the same steps.")
    return Log(
        source="",
        steps=run.steps,
        loss=columns["loss"][run.rows],
        columns=known,
        steps_per_epoch=run.found.length,
        first_step=run.found.first_step,
        batch_size=int(most) if 1 <= most <= LARGEST_STEP else None,
        window=_window(table.window, run.steps),
        exact=run.found.exact,
        note=" ".join(notes),
    )


def _window(window: int | str | None, steps: Ints) -> int | str | None:
    return stride_of(steps) if window == "stride" else window


def told(log: Log, steps_per_epoch: int | None, batch_size: int | None) -> Log:
    """The log with the numbers that the user gives; None leaves what the log says."""
    if batch_size is not None:
        # An axis with a distance of one batch may count images, which no column tells.
        is_doubtful = batch_size > 1 and stride_of(log.steps) == batch_size
        log = replace(log, batch_size=batch_size, exact=log.exact and not is_doubtful)
    if steps_per_epoch is None or steps_per_epoch == log.steps_per_epoch:
        return log
    return replace(
        log,
        steps_per_epoch=steps_per_epoch,
        exact=log.exact if log.steps_per_epoch is None else False,
    )
