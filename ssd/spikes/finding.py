"""One finding of the explanation of a log: a pattern with its cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Cause = Literal[
    "short_last_batch",
    "lr_schedule",
    "epoch_reset",
    "fixed_sample",
    "running_mean",
    "epoch_drop",
    "fixed_order",
    "grouped_batches",
    "none",
    "unknown",
    "not_held",
    "too_short",
]


@dataclass(frozen=True)
class Finding:
    """A pattern that the log shows, with its cause.

    Attributes:
        cause: its name.
        sentence: the cause with its numbers, in plain words.
        advice: what to do.
        period: steps from one occurrence of the pattern to the next; None where unknown.
        height: how strong it is: times that a spike or a jump is as high as what is around it,
            or the correlation of one pass with the next.
        p_value: an upper bound of the chance of a pattern as strong without a cause.
        slack: steps by which the period may be off.
    """

    cause: Cause
    sentence: str
    advice: str = ""
    period: float | None = None
    height: float | None = None
    p_value: float | None = None
    slack: float = 0.0
