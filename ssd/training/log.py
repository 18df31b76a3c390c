"""Carries the figures of the steps from the devices of all ranks to the rows of metrics.jsonl.

The figures of a step stay on the device until `log_every` steps have been collected. They are
then summed over the ranks and read in one transfer, and the first rank writes them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ssd.config import LossConfig, TrainingConfig
from ssd.steps import StepFigures, StepRow
from ssd.training.ranks import sum_over_ranks, world_size
from ssd.training.skipped import Skipped
from ssd.training.step import TrainState
from ssd.training.writer import RunWriter


@dataclass(frozen=True)
class Position:
    """The position of a step in the run; `epoch` and `step_in_epoch` count from 0."""

    step: int
    epoch: int
    step_in_epoch: int
    steps_per_epoch: int


@dataclass(frozen=True)
class Pending:
    """A step that is not logged yet.

    Attributes:
        position: of the step in the run.
        figures: on the device.
        seconds: its duration.
        data_wait: its wait for data in seconds.
        images: the names of this rank's images.
    """

    position: Position
    figures: StepFigures
    seconds: float
    data_wait: float
    images: list[str]


class Log:
    """Collects the figures of the steps; every rank has one.

    Args:
        writer: writes the figures, on the first rank; None on the others.
        state: of the run; its count of skipped steps is kept up to date.
        training: the section of the config.
        loss: the section of the config.
    """

    def __init__(
        self,
        writer: RunWriter | None,
        state: TrainState,
        training: TrainingConfig,
        loss: LossConfig,
    ) -> None:
        self._writer = writer
        self._skipped = Skipped(state, training.max_skipped, self.say)
        self._training, self._loss = training, loss
        self._pending: list[Pending] = []
        self._last_time = time.perf_counter()

    def step(
        self, position: Position, figures: StepFigures, data_wait: float, images: list[str]
    ) -> None:
        """Takes the figures of a step, its wait for data in seconds, and its images' names.

        Raises:
            UserError: too many steps in a row were skipped.
        """
        now = time.perf_counter()
        self._pending.append(Pending(position, figures, now - self._last_time, data_wait, images))
        self._last_time = now
        if self._writer is not None:
            self._writer.advance()
        if len(self._pending) >= self._training.log_every:
            self.flush()

    def flush(self) -> None:
        """Sums the pending figures over the ranks and writes them; every rank has to call it.

        Raises:
            UserError: too many steps in a row were skipped.
        """
        if self._pending:
            logged, rows = self._pending, self._write()
            self._skipped.take(rows, [step.images for step in logged])

    def sync(self) -> None:
        """Writes the pending figures and waits until the disk has them."""
        self.flush()
        if self._writer is not None:
            self._writer.sync()

    def say(self, text: str) -> None:
        """Prints a line, once for all ranks."""
        if self._writer is not None:
            self._writer.say(text)

    def restart_clock(self) -> None:
        """Excludes the time since the last step from the next step's duration."""
        self._last_time = time.perf_counter()

    def close(self) -> None:
        """Writes the pending figures, if this is the only rank, and closes the files.

        Several ranks cannot sum their figures here, since after an error the others may be
        elsewhere in the code. After a normal end nothing is pending.
        """
        if world_size() == 1 and self._pending:
            self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> list[StepRow]:
        rows = step_rows(self._pending, self._training.clip_norm, self._loss)
        self._pending = []
        if self._writer is not None:
            self._writer.steps(rows)
        return rows


def step_rows(
    pending: Sequence[Pending], clip_norm: float | None, loss: LossConfig
) -> list[StepRow]:
    """The rows of pending steps, by one sum over the ranks and one transfer from the device."""
    figures = [step.figures for step in pending]
    names = [*figures[0].sums.by_name(), "grad_norm", "momentum_norm", "lr", "skipped"]
    own = [torch.stack(list(each.sums.by_name().values())) for each in figures]
    # These are the same on all ranks already, since the ranks share their gradients.
    shared = [
        torch.stack([each.grad_norm, each.momentum_norm, each.lr, each.skipped]) for each in figures
    ]
    sums = sum_over_ranks(torch.stack(own))
    table = torch.cat([sums.double(), torch.stack(shared)], 1).tolist()
    told_of = [dict(zip(names, values, strict=True)) for values in table]
    images, seconds = sum(t["num_images"] for t in told_of), sum(step.seconds for step in pending)
    rows = []
    for step, told in zip(pending, told_of, strict=True):
        # Each rank's loss carries the factor `world_size`: see `losses_under`.
        under: dict[str, float] = {
            name: told[name] / world_size() for name in step.figures.sums.loss_under
        }
        rows.append(
            StepRow(
                step=step.position.step,
                epoch=step.position.epoch,
                step_in_epoch=step.position.step_in_epoch,
                steps_per_epoch=step.position.steps_per_epoch,
                loss=under[loss.divisor],
                class_loss_sum=told["class_loss"],
                box_loss_sum=told["box_loss"],
                num_positives=int(told["num_positives"]),
                num_images=int(told["num_images"]),
                divisor=told["divisors"] / told["num_images"],
                lr=told["lr"],
                grad_norm=told["grad_norm"],
                momentum_norm=told["momentum_norm"],
                clipped=clip_norm is not None and told["grad_norm"] > clip_norm,
                skipped=bool(told["skipped"]),
                images_per_second=images / seconds,
                data_wait_seconds=step.data_wait,
                loss_under=under,
            )
        )
    return rows
