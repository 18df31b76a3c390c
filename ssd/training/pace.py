"""The time that a training will take, told once at its start."""

from __future__ import annotations

from collections.abc import Sequence

from ssd.common.words import counted, in_time
from ssd.steps import StepRow

STEPS = 10  # that are timed
LEAST_MINUTES = 1.0  # a shorter training is not worth a line


class Pace:
    """Tells the time that a training will take, from its first steps.

    Args:
        last_step: of the training.
    """

    def __init__(self, last_step: int) -> None:
        self._last_step = last_step
        self._seconds, self._steps, self._is_told = 0.0, -1, False

    def take(self, rows: Sequence[StepRow]) -> str | None:
        """Takes the rows of steps that were logged together; returns the line when it is due.

        The first rows do not count: they hold what is done once.
        """
        if self._steps < 0:
            self._steps = 0
            return None
        self._seconds += sum((row.num_images or 0) / row.images_per_second for row in rows)
        self._steps += len(rows)
        if self._is_told or self._steps < STEPS:
            return None
        self._is_told = True
        left = self._last_step - rows[-1].step
        minutes = left * self._seconds / self._steps / 60
        if minutes < LEAST_MINUTES:
            return None
        return f"{in_time(minutes)} for the {counted(left, 'step')} left, without the evaluations"
