"""Notices a loss that runs away while it is still finite.

The rule: over the last `STEPS` steps, the median of the loss for each positive is more than `TIMES`
that of the first step, which the untrained weights had and no learning rate could have raised. Half
of these steps have to be that high, so no spike with its aftermath is enough. The sums are taken
for each positive, so that `loss.divisor` plays no part. A run that starts from trained weights has
a small loss at first: `GUESSING` stands in for it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median

from ssd.steps import StepRow

STEPS = 20
TIMES = 3.0
GUESSING = 10.0  # about 4 ln(labels), and 3 for the boxes, of a network that guesses


class RunawayWatch:
    """Warns once per start of a run, when its loss runs away.

    Args:
        box_weight: of the config's section `loss`.
        rows: the rows of the steps so far, if the run is resumed.

    Attributes:
        warning: the latest warning, which may be of these rows; empty without one.
    """

    def __init__(self, box_weight: float, rows: Sequence[StepRow] = ()) -> None:
        self._box_weight = box_weight
        self._first: float | None = None
        self._last: deque[float] = deque(maxlen=STEPS)
        self._has_spoken = False
        self.warning = ""
        for row in rows:
            self.take(row)
        self._has_spoken = False

    def take(self, row: StepRow) -> str | None:
        """Takes the row of a step; returns the warning, if there is one.

        Steps without positives, and those whose loss is not finite, tell nothing.
        """
        loss = row.class_loss_sum + self._box_weight * row.box_loss_sum
        if not row.num_positives or not math.isfinite(loss):
            return None
        per_positive = loss / row.num_positives
        self._first = per_positive if self._first is None else self._first
        self._last.append(per_positive)
        usual, sense = median(self._last), max(self._first, GUESSING)
        if self._has_spoken or len(self._last) < STEPS or usual <= TIMES * sense:
            return None
        self._has_spoken = True
        self.warning = (
            f"the loss has run away: {usual:.3g} for each positive in the median of the {STEPS} "
            f"steps to step {row.step}, but {self._first:.3g} when the run began. Lower "
            "optimizer.lr, set training.clip_norm or more optimizer.warmup_steps, and start a new "
            "run, since these weights will hardly recover."
        )
        return self.warning
