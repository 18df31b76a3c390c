"""The log of a run, of this framework or of any other, as columns of numbers.

Letter: `N` rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Log:
    """The known figures of a run's steps, in their order; rows may be missing.

    Attributes:
        source: the origin of the log, as the user named it.
        steps: [N] optimizer steps, rising.
        loss: [N] the reported loss; not finite where it is missing or was reported so.
        columns: further figures [N] by their names in metrics.jsonl, such as `lr`, `grad_norm`,
            `momentum_norm`, `num_images`, `num_positives`, `epoch`; NaN where a row has none.
        losses_under: by divisor, the loss [N] as that divisor makes it, where the log knows it.
        steps_per_epoch: optimizer steps of one pass over the data, or None.
        first_step: the first step of an epoch, so that step s is number (s - first_step) mod
            steps_per_epoch of its pass, from 0; None: unknown.
        batch_size: images of a full step, or None.
        divisor: the divisor that the run used, named as in `ssd.loss.normalize`, or None.
        short_step: the run's `loss.short_step`, or None.
        shuffled: whether the order of the images is drawn anew for every pass; None: unknown.
        run: its name, where the file holds several; empty otherwise.
        window: the number of steps whose mean a row holds, 1 if it is the step's own; "running" if
            it is the mean since the start of the epoch, "median" if it is a median of the last
            steps, in which a single step does not show; None: unknown.
        exact: whether `steps` are certain. If not, they were inferred and can be off by a few, so
            that no numbers of images follow from them.
        note: what there is to say of how it was read, in sentences; empty if nothing.
    """

    source: str
    steps: Ints
    loss: Floats
    columns: Mapping[str, Floats] = field(default_factory=dict)
    losses_under: Mapping[str, Floats] = field(default_factory=dict)
    steps_per_epoch: int | None = None
    first_step: int | None = 1
    batch_size: int | None = None
    divisor: str | None = None
    short_step: str | None = None
    shuffled: bool | None = None
    run: str = ""
    window: int | str | None = None
    exact: bool = True
    note: str = ""
