"""The types of a step's figures, from the device to metrics.jsonl.

    backward ─► StepSums of a micro-batch ─ train_step ─► StepFigures ─ log ─► StepRow
    StepRow, EvaluationRow ─► metrics.jsonl, TensorBoard, the watch, the report, the diagnosis

Importing this file does not import torch: a run's rows are also read on machines without it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ssd.config import Divisor

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StepSums:
    """Sums over the images of an optimizer step; those of micro-batches and ranks add up.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | class_loss, box_loss | [] | float32 | as in LossSums, over the images |
    | num_positives, num_images | [] | float32 | |
    | divisors | [] | float32 | the divisors of the images' loss sums, added up |
    | loss_under | – | dict of [] float32 | the loss under each divisor |
    """

    class_loss: Tensor
    box_loss: Tensor
    num_positives: Tensor
    num_images: Tensor
    divisors: Tensor
    loss_under: dict[Divisor, Tensor]

    def __add__(self, other: StepSums) -> StepSums:
        """The sums of both parts."""
        return StepSums(
            self.class_loss + other.class_loss,
            self.box_loss + other.box_loss,
            self.num_positives + other.num_positives,
            self.num_images + other.num_images,
            self.divisors + other.divisors,
            {name: loss + other.loss_under[name] for name, loss in self.loss_under.items()},
        )

    def by_name(self) -> dict[str, Tensor]:
        """Every sum by its name; each loss has the name of its divisor."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        losses: dict[str, Tensor] = own.pop("loss_under")
        return own | losses


@dataclass(frozen=True)
class StepFigures:
    """The figures of an optimizer step, which stay on the device until they are logged.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | sums | – | StepSums | of this rank |
    | grad_norm | [] | float32 | of all parameters, before clipping |
    | momentum_norm | [] | float32 | of the optimizer's momentum after the step; NaN without one |
    | lr | [] | float64 | the learning rate that was used |
    | skipped | [] | bool | the gradient was not finite, so the weights were left unchanged |
    """

    sums: StepSums
    grad_norm: Tensor
    momentum_norm: Tensor
    lr: Tensor
    skipped: Tensor


@dataclass(frozen=True)
class StepRow:
    """The figures of an optimizer step over all ranks: a line of metrics.jsonl.

    If an older run did not write a field, a figure is NaN, and a count or flag is None.

    | field | unit |
    |---|---|
    | step | optimizer steps taken, this one included |
    | epoch, step_in_epoch | from 0 |
    | steps_per_epoch | optimizer steps of a pass over the data |
    | loss | the loss that was backpropagated |
    | class_loss_sum, box_loss_sum | as in LossSums, over the step |
    | num_positives, num_images | of the step |
    | divisor | the divisor of an image's summed loss, as the mean over the step's images |
    | lr | the learning rate that was used |
    | grad_norm | of all parameters, before clipping |
    | momentum_norm | of the optimizer's momentum after the step |
    | clipped, skipped | whether the gradient was clipped; whether it was not finite |
    | images_per_second | of the steps that were logged together, over all ranks |
    | data_wait_seconds | the first rank's wait for data |
    | loss_under | the loss of the same step under each divisor |
    """

    step: int
    epoch: int | None
    step_in_epoch: int | None
    steps_per_epoch: int | None
    loss: float
    class_loss_sum: float
    box_loss_sum: float
    num_positives: int | None
    num_images: int | None
    divisor: float
    lr: float
    grad_norm: float
    momentum_norm: float
    clipped: bool | None
    skipped: bool | None
    images_per_second: float
    data_wait_seconds: float
    loss_under: dict[str, float]


@dataclass(frozen=True)
class EvaluationRow:
    """The result of an evaluation during training: a line of metrics.jsonl.

    | field | unit |
    |---|---|
    | step | optimizer steps taken |
    | epoch | the pass that the step belongs to, from 0 |
    | metric | its name in the config |
    | mAP | 0 … 1; NaN if no object counts |
    | per_class | AP by class name, 0 … 1; NaN for a class in which no object counts |
    """

    step: int
    epoch: int | None
    metric: str
    mAP: float  # noqa: N815 - the field's standard name
    per_class: dict[str, float]
