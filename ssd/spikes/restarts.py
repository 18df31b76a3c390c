"""Restarts of the learning rate: the level of the loss jumps up with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssd.spikes.finding import Finding
from ssd.spikes.level import Jump, jump_at
from ssd.spikes.log import Floats, Ints

LR_JUMP = 1.2
FEWEST_RESTARTS, NEAR = 2, 2
CERTAIN, NOTABLE, SHARE = 1e-3, 1.03, 0.7


@dataclass(frozen=True)
class Restarts:
    """Restarts of the learning rate.

    Attributes:
        rows: the first row after each.
        period: steps from one to the next, in the median.
        slack: steps by which it may be off, since the log has a row only every so many steps.
        rates: the learning rate before and after, in the median.
        jump: the jump of the level there.
    """

    rows: Ints
    period: float
    slack: float
    rates: tuple[float, float]
    jump: Jump

    def are_at(self, rows: Ints) -> bool:
        """Returns whether most of some rows are those of the restarts, or next to them."""
        nearest = np.abs(rows[:, None] - self.rows).min(axis=1)
        return bool(np.mean(nearest <= NEAR) > SHARE)


def find_restarts(steps: Ints, log_loss: Floats, lr: Floats | None) -> Restarts | None:
    """The restarts of the learning rate with which the level jumps up, if there are any."""
    if lr is None:
        return None
    rows = restart_rows(lr)
    if len(rows) < FEWEST_RESTARTS:
        return None
    jump = jump_at(log_loss, rows)
    if jump is None or jump.p_value > CERTAIN:
        return None
    if jump.size < math.log(NOTABLE) or jump.share < SHARE:
        return None
    gap = float(np.quantile(np.diff(steps), 0.9))
    rates = float(np.median(lr[rows - 1])), float(np.median(lr[rows]))
    return Restarts(rows, float(np.median(np.diff(steps[rows]))), gap, rates, jump)


def restart_rows(lr: Floats) -> Ints:
    """The rows at which the learning rate jumps up, but for those of a warm-up."""
    with np.errstate(invalid="ignore"):
        rises = lr[1:] > LR_JUMP * lr[:-1]
        rises[1:] &= ~(lr[1:-1] > lr[:-2])
    rows = np.flatnonzero(rises) + 1
    return rows[rows > 1]


def tell_restarts(found: Restarts) -> Finding:
    """The finding in words."""
    before, after = found.rates
    height = math.exp(found.jump.size)
    return Finding(
        "lr_schedule",
        f"The loss jumps to {height:.3g} times its level every {found.period:.6g} steps, where the "
        f"learning rate jumps from {before:.3g} to {after:.3g}: the schedule restarts.",
        "The loss itself is sound. Restart at a lower rate, or take a schedule that only falls.",
        found.period,
        height,
        found.jump.p_value,
        found.slack if found.slack > 1 else 0.0,
    )
