"""MobileNetV3-Large for SSDLite: with an additional, finer feature map, or as torchvision has it.

The layers are torchvision's. Its SSDLite predicts from stride 16 on and misses small objects; in
`MobileNetV3Large`, the expansion layer of the first block of stride 16 also gives a map of stride
8, just as Howard et al., MobileNetV3, section 6.3, take the map of stride 16.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from ssd.common.sides import Size, both
from ssd.model.layers import BatchNorm, HalvingConv, halved, xavier_init

EXTRA_CHANNELS = (512, 256, 256, 128)
NORM_EPS, NORM_MOMENTUM = 0.001, 0.03  # of torchvision's SSDLite


class MobileNetV3Large(nn.Module):
    """Seven feature maps of strides 8 … 512 from images [B, 3, H, W], both ≥ 96.

    `features` has torchvision's names, so its weights fit as they are.
    """

    separable_head = True
    first_stride = 8
    tapped_blocks: tuple[int, ...] = (7, 13)
    own_channels: tuple[int, ...] = (240, 672, 960)
    reduced_tail = False
    box_scales: tuple[float, ...] = (0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05)
    aspect_ratios: tuple[tuple[float, ...], ...] = (
        *((2,), (2, 3), (2, 3), (2, 3), (2, 3)),
        *((2,), (2,)),
    )

    def __init__(self, input_size: Size) -> None:
        super().__init__()
        self.channels = (*self.own_channels, *EXTRA_CHANNELS)
        first = self.first_stride.bit_length() - 1
        self.map_sizes = halved(input_size, range(first, first + len(self.channels)))
        self.box_sizes = [scale * min(both(input_size)) for scale in self.box_scales]
        from torchvision.models import mobilenet_v3_large  # imports PyTorch's compiler

        self.features = mobilenet_v3_large(weights=None, reduced_tail=self.reduced_tail).features
        self.extras = nn.ModuleList(
            extra_block(before, after)
            for before, after in pairwise((self.own_channels[-1], *EXTRA_CHANNELS))
        )
        xavier_init(self.extras)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The feature maps, finest first."""
        features, maps = images, []
        for index, layer in enumerate(self.features):
            if index in self.tapped_blocks:
                expansion, rest = layer.block[0], layer.block[1:]
                maps.append(expansion(features))
                features = rest(maps[-1])
            else:
                features = layer(features)
        maps.append(features)
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps


class SSDLite(MobileNetV3Large):
    """Six feature maps of strides 16 … 512: torchvision's SSDLite320, for its weights.

    The last layers have half the channels of MobileNetV3-Large. Source:
    `torchvision/models/detection/ssdlite.py`.
    """

    first_stride = 16
    tapped_blocks = (13,)
    own_channels = (672, 480)
    reduced_tail = True
    box_scales = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
    aspect_ratios = ((2, 3),) * 6


def normalise_as_torchvision(model: nn.Module) -> None:
    """Gives all BatchNorm layers of a detector those settings of torchvision's SSDLite."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps, layer.momentum = NORM_EPS, NORM_MOMENTUM


def extra_block(channels: int, filters: int) -> nn.Sequential:
    """Halves the map: 1×1, depthwise 3×3 of stride 2, 1×1, as in torchvision's SSDLite."""
    from torchvision.ops import Conv2dNormActivation

    layer = partial(Conv2dNormActivation, norm_layer=BatchNorm, activation_layer=nn.ReLU6)
    middle = filters // 2
    halving = nn.Sequential(
        HalvingConv(middle, middle, 3, stride=2, padding=1, groups=middle, bias=False),
        BatchNorm(middle),
        nn.ReLU6(inplace=True),
    )
    return nn.Sequential(
        layer(channels, middle, kernel_size=1), halving, layer(middle, filters, kernel_size=1)
    )
