"""Layers, initial weights and sizes of maps, shared by the backbones and the head."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional

from ssd.common.sides import Size, both


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that also trains on a single value per channel, or on none.

    The last feature map of some pyramids is 1×1, so a batch of one image, such as a short last
    batch, has no variance; in a short step a rank may even get no image. PyTorch refuses both;
    here the running statistics are used instead.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalises [B, C, H, W]."""
        if self.training and input.numel() <= input.shape[1]:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


class HalvingConv(nn.Conv2d):
    """A 3×3 convolution of stride 2 and padding 1 that also trains on maps of one column.

    In bfloat16 on a CPU, PyTorch's gradient of the weights is wrong there, and mostly not a number
    (oneDNN, seen in torch 2.14 on a CPU with AMX). A second column of zeros, in the place of the
    padding, changes no result.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Halves [B, C, H, W], rounded up."""
        return super().forward(functional.pad(input, (0, 1)) if input.shape[3] == 1 else input)


def halved(input_size: Size, times: Iterable[int]) -> list[tuple[int, int]]:
    """Rows and columns of maps after so many halvings of an input, each of them rounded up."""
    height, width = both(input_size)
    return [(-(-height // 2**count), -(-width // 2**count)) for count in times]


def xavier_init(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every convolution, as in Caffe's SSD."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def kaiming_init(module: nn.Module) -> None:
    """Kaiming-normal weights (fan out, ReLU) and zero biases for every convolution."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
