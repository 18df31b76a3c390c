"""Compiles the forward pass and the loss of a micro-batch, and with them their backward pass.

Inductor joins what lies between the convolutions (bias, ReLU, pooling and their gradients) to few
passes over the memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ssd.common.errors import one_line
from ssd.structures import Batch, LossSums, Targets
from ssd.training.step import ImageLosses, StepSettings, TrainState, image_losses, match_batch


def compile_step(
    state: TrainState, settings: StepSettings, shape: torch.Size, say: Callable[[str], None]
) -> None:
    """Makes the steps of a state use a compiled forward pass and loss, or says why they cannot.

    Only micro-batches of this shape use it. Others, such as a short last one, are not worth a
    compilation of their own.

    Args:
        state: its model is on its device.
        settings: of the steps.
        shape: of the images of a full micro-batch, [B, 3, S, S].
        say: takes a line.
    """
    say("compiling the model, which takes about half a minute")
    started = time.perf_counter()
    compiled = torch.compile(image_losses, dynamic=False)
    try:
        try_out(compiled, state, settings, shape)
    except Exception as error:  # a compiler fails in many ways, and training works without it
        say(f"the model is not compiled, so steps are slower: {one_line(error)[:200]}")
        return

    def by_shape(
        model: nn.Module, images: Tensor, targets: Targets, settings: StepSettings
    ) -> LossSums:
        run = compiled if images.shape == shape else image_losses
        return run(model, images, targets, settings)

    state.image_losses = by_shape
    say(f"compiled the model in {time.perf_counter() - started:.0f} s")


def try_out(
    losses: ImageLosses, state: TrainState, settings: StepSettings, shape: torch.Size
) -> None:
    """Runs forward and backward once, on black images without objects; changes nothing."""
    device = settings.default_boxes.device
    images = torch.zeros(shape, device=device).contiguous(memory_format=torch.channels_last)
    boxes = torch.zeros(len(images), 1, 4, device=device)
    labels = torch.zeros(len(images), 1, dtype=torch.int64, device=device)
    targets = match_batch(Batch(images, boxes, labels, []), settings)
    buffers = list(state.model.buffers())
    before = [buffer.clone() for buffer in buffers]
    try:
        sums = losses(state.model, images, targets, settings)
        torch.autograd.backward((sums.class_loss + sums.box_loss).sum())
    finally:
        for buffer, earlier in zip(buffers, before, strict=True):
            buffer.copy_(earlier)
        state.optimizer.zero_grad(set_to_none=True)
