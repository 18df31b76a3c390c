"""A small backbone that trains from random weights on a CPU.

Seven stages in the spirit of ssd_keras's SSD7: two in the stem, four that each end in a feature
map, and the head. Strides replace pooling, most work is done from stride 8 on, where it is cheap,
and channels come in multiples of 16, which suits the CPU's matrix kernels. At input size 300:

| map | stride | head's receptive field | default boxes' longest side |
|---|---|---|---|
| 0 | 8 | 63 px | 33 px |
| 1 | 16 | 127 px | 88 px |
| 2 | 32 | 255 px | 187 px |
| 3 | 64 | 511 px | 263 px |
"""

from __future__ import annotations

from torch import Tensor, nn

from ssd.common.sides import Size, both
from ssd.model.layers import BatchNorm, halved, kaiming_init

STEM = (16, 48)
STAGES = ((64, 3), (128, 2), (160, 2), (160, 2))  # channels, convolutions
BOX_SCALES = (0.07, 0.17, 0.36, 0.62, 0.95)


class SSD7(nn.Module):
    """Four feature maps of strides 8, 16, 32 and 64 from images [B, 3, H, W], both ≥ 96."""

    separable_head = False
    first_stride = 8
    aspect_ratios: tuple[tuple[float, ...], ...] = ((2,), (2, 3), (2, 3), (2,))

    def __init__(self, input_size: Size) -> None:
        super().__init__()
        self.channels = [filters for filters, _ in STAGES]
        self.map_sizes = halved(input_size, (3, 4, 5, 6))
        self.box_sizes = [scale * min(both(input_size)) for scale in BOX_SCALES]
        first, second = STEM
        self.stem = nn.Sequential(
            *convolution(3, first, stride=2), *convolution(first, second, stride=2)
        )
        self.stages = nn.ModuleList()
        channels = second
        for filters, depth in STAGES:
            self.stages.append(stage(channels, filters, depth))
            channels = filters
        kaiming_init(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The feature maps, finest first."""
        features = self.stem(images)
        maps = []
        for halve_and_refine in self.stages:
            features = halve_and_refine(features)
            maps.append(features)
        return maps


def stage(channels: int, filters: int, depth: int) -> nn.Sequential:
    """Halves the map, then widens the receptive field at the new scale."""
    layers = convolution(channels, filters, stride=2)
    for _ in range(depth - 1):
        layers += convolution(filters, filters, stride=1)
    return nn.Sequential(*layers)


def convolution(channels: int, filters: int, stride: int) -> list[nn.Module]:
    """3×3 convolution, batch normalisation, ReLU."""
    return [
        nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False),
        BatchNorm(filters),
        nn.ReLU(inplace=True),
    ]
