"""MobileNetV3-Large for SSDLite, with an additional, finer feature map.

The layers are torchvision's. Its SSDLite predicts from stride 16 on and misses small objects; here
the expansion layer of the first block of stride 16 also gives a map of stride 8, just as Howard et
al., MobileNetV3, section 6.3, take the map of stride 16.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from ssd.common.sides import Size, both
from ssd.model.layers import BatchNorm, halved, xavier_init

TAPPED_BLOCKS = (7, 13)
TAPPED_CHANNELS = (240, 672)
LAST_CHANNELS = 960
EXTRA_CHANNELS = (512, 256, 256, 128)
BOX_SCALES = (0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05)


class MobileNetV3Large(nn.Module):
    """Seven feature maps of strides 8 … 512 from images [B, 3, H, W], both ≥ 96.

    `features` has torchvision's names, so its weights fit as they are.
    """

    separable_head = True
    aspect_ratios: tuple[tuple[float, ...], ...] = (
        *((2,), (2, 3), (2, 3), (2, 3), (2, 3)),
        *((2,), (2,)),
    )

    def __init__(self, input_size: Size) -> None:
        super().__init__()
        self.channels = (*TAPPED_CHANNELS, LAST_CHANNELS, *EXTRA_CHANNELS)
        self.map_sizes = halved(input_size, range(3, 10))
        self.box_sizes = [scale * min(both(input_size)) for scale in BOX_SCALES]
        from torchvision.models import mobilenet_v3_large  # imports PyTorch's compiler

        self.features = mobilenet_v3_large(weights=None).features
        self.extras = nn.ModuleList(
            extra_block(before, after)
            for before, after in pairwise((LAST_CHANNELS, *EXTRA_CHANNELS))
        )
        xavier_init(self.extras)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The feature maps, finest first."""
        features, maps = images, []
        for index, layer in enumerate(self.features):
            if index in TAPPED_BLOCKS:
                expansion, rest = layer.block[0], layer.block[1:]
                maps.append(expansion(features))
                features = rest(maps[-1])
            else:
                features = layer(features)
        maps.append(features)
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps


def extra_block(channels: int, filters: int) -> nn.Sequential:
    """Halves the map: 1×1, depthwise 3×3 of stride 2, 1×1, as in torchvision's SSDLite."""
    from torchvision.ops import Conv2dNormActivation

    layer = partial(Conv2dNormActivation, norm_layer=BatchNorm, activation_layer=nn.ReLU6)
    middle = filters // 2
    return nn.Sequential(
        layer(channels, middle, kernel_size=1),
        layer(middle, middle, kernel_size=3, stride=2, groups=middle),
        layer(middle, filters, kernel_size=1),
    )
