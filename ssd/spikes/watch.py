"""Watches a training run for losses that spike once per epoch, and explains them.

It looks once per epoch, at figures that have been read for the log anyway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ssd.spikes.detect import FEWEST_PASSES, find_spikes
from ssd.spikes.explain import explain
from ssd.spikes.read import log_of_rows
from ssd.steps import StepRow

MOST_PASSES = 12
CERTAIN = 1e-3  # there is a look after every epoch, so each has to be surer than a single one
HIGH = 2.0  # a few odd images in a short step are enough for a lower spike


class SpikeWatch:
    """Warns once per start, when the losses of the last epochs spike with the epoch's period.

    Args:
        run_dir: the run folder, to be named in the advice.
        divisor: the divisor of the loss.
        rows: the rows of the steps so far, if the run is resumed.
    """

    def __init__(self, run_dir: Path, divisor: str, rows: Sequence[StepRow] = ()) -> None:
        self._run_dir, self._divisor = run_dir, divisor
        self._rows = deque(rows)
        self._has_spoken = False

    def take(self, row: StepRow) -> str | None:
        """Takes the row of a step; returns the warning, if there is one."""
        if self._has_spoken or row.steps_per_epoch is None:
            return None
        length = row.steps_per_epoch
        self._rows.append(row)
        while len(self._rows) > MOST_PASSES * length:
            self._rows.popleft()
        ends_epoch = row.step_in_epoch == length - 1
        if not ends_epoch or len(self._rows) < FEWEST_PASSES * length:
            return None
        log = log_of_rows(list(self._rows), str(self._run_dir), self._divisor)
        spikes = find_spikes(log.steps, log.loss, length)
        if spikes is None or not spikes.found or spikes.p_value > CERTAIN:
            return None
        explanation = explain(log, period=length)
        if explanation.remedy is None and spikes.ratio < HIGH:
            return None
        self._has_spoken = True
        self._rows.clear()
        return (
            f"{explanation.sentence} {explanation.advice} Pictures: python tools/spikes.py "
            f"--explain {self._run_dir}"
        )
