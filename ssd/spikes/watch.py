"""Watches a training for the harm of a short step: a loss that spikes, images that count more."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config import LossConfig
from ssd.spikes.detect import FEWEST_PASSES
from ssd.spikes.explain import explain
from ssd.spikes.formats.own_run import log_of_rows
from ssd.spikes.given import log_of_losses
from ssd.spikes.log import Log
from ssd.steps import StepRow

MOST_PASSES = 12
CERTAIN = 1e-3  # there is a look after every epoch, so each has to be surer than a single one
HIGH = 2.0  # a few odd images in a short step are enough for a lower spike
HEAVY = 8.0  # times that an image of the short step counts: from here on, training suffers


def look(log: Log, length: int) -> str:
    """The findings that are worth a word in a log with passes of `length` steps; empty if none."""
    explanation = explain(log, period=length)
    spikes, short = explanation.spikes, explanation.short_step
    texts = []
    is_certain = spikes is not None and spikes.p_value <= CERTAIN
    if is_certain and spikes and (explanation.remedy is not None or spikes.ratio >= HIGH):
        texts += [explanation.sentence, explanation.advice]
    if short and short.weight >= HEAVY and not short.clipped and (short.counted or is_certain):
        texts += [short.sentence, short.advice]
    return " ".join(filter(None, texts))


class SpikeWatch:
    """Warns once, when the losses of the last passes spike with the period of a pass.

    The warning names the cause, and what the images of the short step count. It looks once per
    pass, so a call costs next to nothing.

    Args:
        steps_per_epoch: optimizer steps of a pass over the data.
        batch_size: images of a full step, if the warning shall name those of the short one.
    """

    def __init__(self, steps_per_epoch: int, batch_size: int | None = None) -> None:
        length = int(steps_per_epoch)
        if length < 1:
            raise UserError(f"steps_per_epoch is {steps_per_epoch}, but has to be at least 1")
        self._length, self._batch_size = length, batch_size
        self._seen: deque[tuple[int, float]] = deque(maxlen=MOST_PASSES * length)
        self._first_step: int | None = None  # of a pass
        self._since_look = 0
        self._has_spoken = False

    def __call__(self, step: int, loss: float) -> str | None:
        """Takes the loss of a step; returns the warning, if there is one.

        Args:
            step: its number, counted through all passes, from 0 or from 1. If it is not above the
                last one, as after a resume, the losses from that step on are forgotten.
            loss: as the training reports it.
        """
        if not self._seen and step % self._length < 2:  # a start within a pass tells nothing
            self._first_step = step % self._length
        while self._seen and self._seen[-1][0] >= step:
            self._seen.pop()
        self._seen.append((int(step), float(loss)))
        self._since_look += 1
        long_enough = len(self._seen) >= FEWEST_PASSES * self._length
        if self._has_spoken or not long_enough or self._since_look < self._length:
            return None
        self._since_look = 0
        steps, losses = zip(*self._seen, strict=True)
        log = log_of_losses(
            losses, steps, steps_per_epoch=self._length, batch_size=self._batch_size
        )
        log = replace(log, first_step=self._first_step)
        self._has_spoken = bool(found := look(log, self._length))
        return found or None


class RunWatch:
    """Warns once per start of a run of this framework, whose rows tell the cause.

    It also warns where the loss does not spike but the images of a short step count too much.

    Args:
        run_dir: the run folder, to be named in the advice.
        loss: the section of the config.
        rows: the rows of the steps so far, if the run is resumed.
    """

    def __init__(self, run_dir: Path, loss: LossConfig, rows: Sequence[StepRow] = ()) -> None:
        self._run_dir, self._loss = run_dir, loss
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
        loss = self._loss
        log = log_of_rows(list(self._rows), str(self._run_dir), loss.divisor, loss.short_step)
        found = look(log, length)
        if not found:
            return None
        self._has_spoken = True
        self._rows.clear()
        return f"{found} Pictures: ssd spikes --explain {self._run_dir}"
