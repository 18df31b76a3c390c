"""VGG16 as SSD uses it: no classifier, fc6 and fc7 as convolutions, and extra feature layers.

Sources: Liu et al., SSD, section 3; Caffe's `ssd_pascal.py` and `ssd_pascal_512.py` for the layers
that follow fc7; Liu et al., ParseNet, section 3.3, for the normalisation of conv4_3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssd.common.errors import UserError
from ssd.common.sides import Size, in_words
from ssd.model.layers import BatchNorm, kaiming_init, xavier_init

FEATURES: tuple[int | str, ...] = (
    *(64, 64, "pool"),
    *(128, 128, "pool"),
    *(256, 256, 256, "pool with ceil"),
    *(512, 512, 512, "pool"),
    *(512, 512, 512),
)


@dataclass(frozen=True)
class Extra:
    """A 1×1 convolution to `squeeze` channels, then one to `filters` that outputs a map."""

    squeeze: int
    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Pyramid:
    """The layers after fc7 at one input size, and the default boxes of all feature maps."""

    extras: tuple[Extra, ...]
    map_sizes: tuple[int, ...]
    box_sizes: tuple[float, ...]
    aspect_ratios: tuple[tuple[float, ...], ...]
    first_stride: int = 8


SSD300 = Pyramid(
    extras=(
        Extra(256, 512, stride=2, padding=1),
        Extra(128, 256, stride=2, padding=1),
        Extra(128, 256),
        Extra(128, 256),
    ),
    map_sizes=(38, 19, 10, 5, 3, 1),
    box_sizes=(30, 60, 111, 162, 213, 264, 315),
    aspect_ratios=((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
)
SSD512 = Pyramid(
    extras=(
        Extra(256, 512, stride=2, padding=1),
        Extra(128, 256, stride=2, padding=1),
        Extra(128, 256, stride=2, padding=1),
        Extra(128, 256, stride=2, padding=1),
        Extra(128, 256, kernel=4, padding=1),
    ),
    map_sizes=(64, 32, 16, 8, 4, 2, 1),
    box_sizes=(35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8, 537.65),
    aspect_ratios=((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
)
PYRAMIDS = {300: SSD300, 512: SSD512}


class VGG16(nn.Module):
    """Feature maps of conv4_3, fc7 and the extra layers, from images [B, 3, S, S].

    `features` holds conv1_1 … conv5_3 under torchvision's names, so its weights fit as they are.

    Args:
        input_size: S, 300 or 512.
        batch_norm: whether to normalise after every convolution (torchvision's `vgg16_bn`).

    Raises:
        UserError: if the input size is neither of these.
    """

    separable_head = False
    first_stride = 8

    def __init__(self, input_size: Size, *, batch_norm: bool) -> None:
        super().__init__()
        if not isinstance(input_size, int) or input_size not in PYRAMIDS:
            raise UserError(
                f"model.input_size is {in_words(input_size)}, but VGG takes 300 or 512; "
                "other sizes need another model.backbone"
            )
        pyramid = PYRAMIDS[input_size]
        self.map_sizes = pyramid.map_sizes
        self.box_sizes = pyramid.box_sizes
        self.aspect_ratios = pyramid.aspect_ratios
        self.channels = (512, 1024, *(extra.filters for extra in pyramid.extras))

        self.features = vgg_features(batch_norm)
        pools = [i for i, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        self.conv4_3_end = pools[-1]
        self.conv4_3_norm = L2Norm(512)
        self.fc = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            *conv_relu(512, 1024, 3, padding=6, dilation=6, batch_norm=batch_norm),
            *conv_relu(1024, 1024, 1, batch_norm=batch_norm),
        )
        self.extras = extra_layers(pyramid.extras, batch_norm)
        kaiming_init(self.features)
        xavier_init(self.fc)
        xavier_init(self.extras)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The feature maps, finest first."""
        conv4_3 = self.features[: self.conv4_3_end](images)
        features = self.fc(self.features[self.conv4_3_end :](conv4_3))
        maps = [self.conv4_3_norm(conv4_3), features]
        for extra in self.extras:
            features = extra(features)
            maps.append(features)
        return maps


class L2Norm(nn.Module):
    """Scales the channels at each position to unit length, then each by a learned factor.

    Computes in float32 whatever the autocast type. Source: Caffe's `NormalizeLayer`, whose factor
    starts at 20 and whose epsilon is added under the root.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 20.0))

    def forward(self, features: Tensor) -> Tensor:
        """Normalises [B, C, H, W]; the result has the type of the input."""
        wide = features.float()
        scale = torch.rsqrt(wide.square().sum(1, keepdim=True) + 1e-10)
        return (wide * scale * self.weight[:, None, None]).to(features.dtype)


def vgg_features(batch_norm: bool) -> nn.Sequential:
    """Layers conv1_1 … conv5_3, numbered as in torchvision's `vgg16` and `vgg16_bn`."""
    layers: list[nn.Module] = []
    channels = 3
    for step in FEATURES:
        if isinstance(step, int):
            layers += conv_relu(channels, step, 3, padding=1, batch_norm=batch_norm)
            channels = step
        else:
            layers.append(nn.MaxPool2d(2, ceil_mode=step == "pool with ceil"))
    return nn.Sequential(*layers)


def extra_layers(extras: tuple[Extra, ...], batch_norm: bool) -> nn.ModuleList:
    """conv8 and the layers after it, one block for each feature map."""
    blocks = nn.ModuleList()
    channels = 1024
    for extra in extras:
        squeeze = conv_relu(channels, extra.squeeze, 1, batch_norm=batch_norm)
        expand = conv_relu(
            extra.squeeze,
            extra.filters,
            extra.kernel,
            stride=extra.stride,
            padding=extra.padding,
            batch_norm=batch_norm,
        )
        blocks.append(nn.Sequential(*squeeze, *expand))
        channels = extra.filters
    return blocks


def conv_relu(
    channels: int,
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    batch_norm: bool,
) -> list[nn.Module]:
    """Convolution, batch normalisation if requested, ReLU."""
    norm = [BatchNorm(filters)] if batch_norm else []
    return [
        nn.Conv2d(channels, filters, kernel, stride, padding, dilation),
        *norm,
        nn.ReLU(inplace=True),
    ]
