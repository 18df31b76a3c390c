"""The matrix work of a training step: the operations of its convolutions, and their time alone.

The convolutions are found with a model on PyTorch's `meta` device, which has shapes but no numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from benchmarks.gpu.clock import captured, seconds_per_call
from ssd.common.sides import both
from ssd.config import ModelConfig
from ssd.model.ssd import build_model

SECONDS_OF_ONE = 0.02


@dataclass(frozen=True)
class Convolution:
    """The shapes and arguments of a convolution.

    Attributes:
        images: [B, channels, H, W].
        weight: [filters, channels / groups, height, width].
        outputs: [B, filters, H', W'].
        stride, padding, dilation, groups: as of `nn.Conv2d`.
        to_input: whether the backward pass goes on to the input.
    """

    images: tuple[int, ...]
    weight: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    to_input: bool

    @property
    def operations(self) -> int:
        """Multiplications and additions of the forward and backward pass.

        The pass forward, that to the weights and that to the input take equally many: one of each
        for every output and every weight of its filter.
        """
        return (2 + self.to_input) * 2 * prod(self.outputs) * prod(self.weight[1:])


def convolutions(config: ModelConfig, num_classes: int, batch_size: int) -> Counter[Convolution]:
    """The convolutions of a training step, and how often each comes."""
    found: Counter[Convolution] = Counter()

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        assert not isinstance(module.padding, str)
        (images,) = inputs
        shapes = tuple(images.shape), tuple(module.weight.shape), tuple(output.shape)
        settings = tuple(module.stride), tuple(module.padding), tuple(module.dilation)
        found[Convolution(*shapes, *settings, module.groups, images.requires_grad)] += 1

    network = build_model(config, num_classes).to("meta").train()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    network(torch.empty(batch_size, 3, *both(config.input_size), device="meta"))
    return found


def operations_of_all(found: Counter[Convolution]) -> int:
    """The operations of all convolutions of a step."""
    return sum(count * each.operations for each, count in found.items())


def seconds_of_all(found: Counter[Convolution], dtype: torch.dtype, device: torch.device) -> float:
    """Seconds that the convolutions take if each runs alone, forward and backward, without bias."""
    return sum(count * seconds_alone(each, dtype, device) for each, count in found.items())


def seconds_alone(each: Convolution, dtype: torch.dtype, device: torch.device) -> float:
    """Seconds of the forward and backward pass of one convolution, channels_last as in training."""

    def numbers(shape: tuple[int, ...]) -> Tensor:
        numbers = torch.empty(shape, dtype=dtype, device=device).normal_(0, 0.1)
        return numbers.contiguous(memory_format=torch.channels_last)

    images, weight = numbers(each.images), numbers(each.weight)
    # The last three: not transposed, no output padding, groups.
    settings = each.stride, each.padding, each.dilation, False, (0, 0), each.groups
    gradient = torch.ones_like(torch.convolution(images, weight, None, *settings))
    wanted = each.to_input, True, False

    def both() -> None:
        torch.convolution(images, weight, None, *settings)
        backward = torch.ops.aten.convolution_backward
        backward(gradient, images, weight, None, *settings, wanted)

    return seconds_per_call(captured(both, device), device, SECONDS_OF_ONE)
