"""One optimizer step, from top to bottom.

    match and count → add up the positives of all ranks → forward and backward of each
    micro-batch → unscale → gradient norm → is it finite? → clip → update → average

The order matters: positives are counted before anything is divided by them, gradients are
unscaled before they are measured and clipped, and nothing non-finite reaches the weights or the
statistics of BatchNorm.

The host reads nothing back, so it never waits for a GPU, and the step can run as a CUDA graph
(`ssd.training.graph`). Where the gradient is not finite, the device itself leaves the state as it
is. Nothing in `train_step` may depend on a number that changes from step to step unless it is a
tensor on the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from ssd.config import LossConfig
from ssd.loss.matching import match
from ssd.loss.multibox import multibox_loss
from ssd.loss.normalize import StepCounts, losses_under
from ssd.steps import StepFigures, StepSums
from ssd.structures import Batch, LossSums, Predictions, Targets
from ssd.training.average import MovingAverage
from ssd.training.optimizer import momentum_norm, update_weights
from ssd.training.ranks import sum_over_ranks, world_size

ImageLosses = Callable[[nn.Module, Tensor, Targets, "StepSettings"], LossSums]


@dataclass
class TrainState:
    """The state that a step changes.

    Attributes:
        model: returns Predictions; a plain module or a DistributedDataParallel one.
        optimizer: updates the model's parameters.
        scaler: scales the loss; enabled only for fp16.
        average: the moving average of the weights, or None.
        image_losses: the function below, or a compiled form of it.
        step: optimizer steps taken, skipped ones included; the training loop counts them.
        updates: steps that changed the weights, an int64 scalar on the device.
        skipped_in_row: steps skipped since the last update, as of the last step that was logged.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None = None
    image_losses: ImageLosses = field(default_factory=lambda: image_losses)
    step: int = 0
    updates: Tensor = field(init=False)
    skipped_in_row: int = 0

    def __post_init__(self) -> None:
        """Starts with no update, on the model's device."""
        device = next(self.model.parameters()).device
        self.updates = torch.zeros((), dtype=torch.int64, device=device)


@dataclass(frozen=True)
class StepSettings:
    """The settings that stay the same from step to step.

    Attributes:
        default_boxes: [P, 4] in centre form, on the model's device.
        learning_rates: [U] float64, the learning rate of every update of the weights, on the
            model's device; further updates use the last one.
        loss: the section of the config.
        clip_norm: largest gradient norm, or None.
        dtype: of autocast, or None for fp32.
        images_per_step: images of a full step, over all micro-batches and ranks; None if every
            step is a full one.
        class_weights: [C] float32, the weight of an object of each class, on the model's device;
            None for equal ones.
    """

    default_boxes: Tensor
    learning_rates: Tensor
    loss: LossConfig = field(default_factory=LossConfig)
    clip_norm: float | None = None
    dtype: torch.dtype | None = None
    images_per_step: int | None = None
    class_weights: Tensor | None = None


def train_step(
    state: TrainState, micro_batches: Sequence[Batch], settings: StepSettings
) -> StepFigures:
    """Takes one optimizer step on images that may be split into micro-batches in any way."""
    targets = [match_batch(batch, settings) for batch in micro_batches]
    counts = count_step(targets, settings.images_per_step)

    state.optimizer.zero_grad(set_to_none=True)
    buffers = list(state.model.buffers())
    buffers_before = [buffer.clone() for buffer in buffers]
    parts = []
    for index, (batch, target) in enumerate(zip(micro_batches, targets, strict=True)):
        last = index == len(micro_batches) - 1
        with contextlib.nullcontext() if last else without_gradient_exchange(state.model):
            parts.append(backward(state, batch, target, counts, settings))

    # The norm and its limit are in units of the unscaled loss, so the fp16 scale is removed first.
    # The gradient is the same on every rank by now, so all ranks skip or none does.
    state.scaler.unscale_(state.optimizer)
    parameters = [p for p in state.model.parameters() if p.grad is not None]
    grad_norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    finite = torch.isfinite(grad_norm)
    if settings.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, settings.clip_norm, grad_norm)
    for buffer, before in zip(buffers, buffers_before, strict=True):
        buffer.copy_(torch.where(finite, buffer, before))  # BatchNorm's statistics
    # `take`, since the host would read a scalar that it uses as an index.
    rates = settings.learning_rates
    lr = rates.take(state.updates.clamp(max=len(rates) - 1))
    update_weights(state.optimizer, lr, finite)
    if state.average is not None:
        state.average.update(state.model, state.updates, finite)
    state.updates += finite
    state.scaler.update()
    return StepFigures(reduce(add, parts), grad_norm, momentum_norm(state.optimizer), lr, ~finite)


def match_batch(batch: Batch, settings: StepSettings) -> Targets:
    """The targets of a batch, which do not depend on the predictions."""
    loss = settings.loss
    return match(
        batch.boxes, batch.labels, settings.default_boxes, loss.match_iou, loss.negative_iou
    )


def count_step(micro_batches: Sequence[Targets], images_per_step: int | None) -> StepCounts:
    """The counts of a step over all its micro-batches and ranks; every rank has to call it."""
    positives = torch.stack([targets.num_positives.sum() for targets in micro_batches]).sum()
    images = sum(len(targets.num_positives) for targets in micro_batches)
    totals = sum_over_ranks(torch.stack([positives, torch.full_like(positives, images)]))
    return StepCounts(totals[0], totals[1], len(micro_batches), world_size(), images_per_step)


def backward(
    state: TrainState,
    batch: Batch,
    targets: Targets,
    counts: StepCounts,
    settings: StepSettings,
) -> StepSums:
    """Adds the gradient of one micro-batch; returns its contribution to the step's sums."""
    sums = state.image_losses(state.model, batch.images, targets, settings)
    losses = losses_under(sums, counts, settings.loss)
    torch.autograd.backward(state.scaler.scale(losses.objective))
    return StepSums(
        class_loss=sums.class_loss.detach().sum(),
        box_loss=sums.box_loss.detach().sum(),
        num_positives=sums.num_positives.sum(),
        num_images=sums.num_positives.new_full((), len(batch.images)),
        divisors=losses.divisors.sum(),
        loss_under={divisor: value.detach() for divisor, value in losses.under.items()},
    )


def image_losses(
    model: nn.Module, images: Tensor, targets: Targets, settings: StepSettings
) -> LossSums:
    """The forward pass of a micro-batch and the losses of its images, as sums."""
    low = settings.dtype is not None
    # A step uses each weight once, and a graph must not keep a cast made before its capture.
    with torch.autocast(images.device.type, settings.dtype, enabled=low, cache_enabled=False):
        predictions: Predictions = model(images)
    return multibox_loss(
        predictions, targets, settings.default_boxes, settings.loss, settings.class_weights
    )


def without_gradient_exchange(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Keeps DistributedDataParallel from averaging gradients before the last micro-batch."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.no_sync()
    return contextlib.nullcontext()
