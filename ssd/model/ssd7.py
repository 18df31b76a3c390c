"""A small backbone that trains from random weights on a CPU.

Seven stages, after the idea of ssd_keras's SSD7 (small, batch-normalised, four predicted maps), but
with strides in place of pooling and most of the work from stride 8 on, where it is cheap.
Every map sees at least twice the side of its largest default box:

| map | stride | sees, in pixels |
|---|---|---|
| 0 | 8 | 63 |
| 1 | 16 | 127 |
| 2 | 32 | 255 |
| 3 | 64 | 511 |
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from ssd.model.layers import BatchNorm, kaiming_init

WIDTHS = (32, 48, 64, 96, 128, 160)
BOX_SCALES = (0.07, 0.17, 0.36, 0.62, 0.95)


class SSD7(nn.Module):
    """Four feature maps of strides 8, 16, 32 and 64 from images [B, 3, S, S], S ≥ 96."""

    min_input_size = 96
    separable_head = False
    aspect_ratios: tuple[tuple[float, ...], ...] = ((2,), (2, 3), (2, 3), (2,))

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.channels = WIDTHS[2:]
        self.map_sizes = [math.ceil(input_size / 2**power) for power in (3, 4, 5, 6)]
        self.box_sizes = [scale * input_size for scale in BOX_SCALES]
        stem, width = WIDTHS[:2]
        self.stem = nn.Sequential(
            *convolution(3, stem, stride=2), *convolution(stem, width, stride=2)
        )
        self.stages = nn.ModuleList(stage(before, after) for before, after in pairwise(WIDTHS[1:]))
        kaiming_init(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The feature maps, finest first."""
        features = self.stem(images)
        maps = []
        for halve_and_refine in self.stages:
            features = halve_and_refine(features)
            maps.append(features)
        return maps


def stage(channels: int, filters: int) -> nn.Sequential:
    """Halves the map, then looks around once more at the new scale."""
    return nn.Sequential(
        *convolution(channels, filters, stride=2), *convolution(filters, filters, stride=1)
    )


def convolution(channels: int, filters: int, stride: int) -> list[nn.Module]:
    """3×3 convolution, batch normalisation, ReLU."""
    return [
        nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False),
        BatchNorm(filters),
        nn.ReLU(inplace=True),
    ]
