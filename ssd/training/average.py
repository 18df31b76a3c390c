"""The moving average of the weights, which often detects better than the weights themselves."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ssd.model.ssd import SSD


class MovingAverage:
    """Averages a model's weights; `model` is a copy that holds the average, for evaluation.

    Early on the average follows quickly: the decay of update n is min(decay, (1 + n) / (10 + n)),
    as in TensorFlow's `ExponentialMovingAverage`. Buffers (BatchNorm statistics) are copied, since
    they are averages already.
    """

    def __init__(self, model: SSD, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, updates: Tensor, changed: Tensor) -> None:
        """Adds the weights after an update to the average.

        Args:
            model: the model that is trained.
            updates: the number of earlier updates, an int64 scalar on the device.
            changed: a bool scalar on the device; if it is not set, the average stays as it is.
        """
        done = updates.double()
        decay = ((1 + done) / (10 + done)).clamp(max=self.decay)
        weight = torch.where(changed, 1 - decay, 0.0).float()
        averages: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(averages, list(model.parameters()), [weight] * len(averages))
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
