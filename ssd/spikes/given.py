"""Makes a log of losses that are at hand as numbers.

Letter: `N` rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.spikes.formats.logs import logs_of
from ssd.spikes.formats.table import Table
from ssd.spikes.log import Log


def log_of_losses(
    losses: npt.ArrayLike,
    steps: npt.ArrayLike | None = None,
    epochs: npt.ArrayLike | None = None,
    steps_per_epoch: int | None = None,
    batch_size: int | None = None,
) -> Log:
    """The log of losses that are at hand as numbers.

    Args:
        losses: [N].
        steps: [N] their optimizer steps, rising through all passes, or anew in each epoch if
            `epochs` are given; without them, every step from 1 on.
        epochs: [N] the epoch of each, whole or fractional, if known.
        steps_per_epoch: optimizer steps of a pass over the data, if known.
        batch_size: images of a full step, if known.

    Raises:
        UserError: there are no losses, or the steps do not rise or are not as many.
    """
    columns = {"loss": np.atleast_1d(np.asarray(losses, np.float64))}
    shape = columns["loss"].shape
    if len(shape) > 1 or not shape[0]:
        raise UserError(f"losses have the shape {shape}, but have to be a list of at least one")
    for name, given in (("step", steps), ("epoch", epochs)):
        if given is not None:
            columns[name] = np.asarray(given, np.float64)
            if columns[name].shape != shape:
                told = f"losses of shape {shape} and {name}s of shape {columns[name].shape}"
                raise UserError(f"{told}: give one {name} for each loss")
    if steps is None:
        columns["step"] = np.arange(1, shape[0] + 1).astype(np.float64)
    table = Table(columns, np.ones(shape, np.bool_))
    logs = logs_of("losses", table, steps_per_epoch, batch_size)
    if len(logs) > 1 or len(logs[0].steps) < shape[0]:
        raise UserError(
            "the steps do not rise: count them through all passes, or give the epochs, too"
        )
    return logs[0]
