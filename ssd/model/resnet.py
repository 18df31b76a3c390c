"""ResNet-50 as NVIDIA's SSD300 uses it: up to its third stage, kept at stride 8, and extra layers.

Source: NVIDIA's DeepLearningExamples, `PyTorch/Detection/SSD`. The layers up to `layer3` are
torchvision's. Unlike VGG's conv4_3, the finest map is not scaled, because batch normalisation
precedes it.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn

from ssd.common.errors import UserError
from ssd.common.sides import Size, in_words
from ssd.model.layers import BatchNorm, xavier_init

INPUT_SIZE = 300
CHANNELS = (1024, 512, 512, 256, 256, 256)
SQUEEZES = (256, 256, 128, 128, 128)
HALVING_EXTRAS = 3


class ResNet50(nn.Module):
    """Feature maps of `layer3` and the extra layers, from images [B, 3, 300, 300].

    `features` has torchvision's names, so its weights fit as they are.

    Args:
        input_size: 300, the only size that NVIDIA's layers and default boxes are given for.

    Raises:
        UserError: if the input size is not 300.
    """

    separable_head = False
    first_stride = 8
    channels = CHANNELS
    map_sizes = (38, 19, 10, 5, 3, 1)
    box_sizes = (21, 45, 99, 153, 207, 261, 315)
    aspect_ratios: tuple[tuple[float, ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))

    def __init__(self, input_size: Size) -> None:
        super().__init__()
        if input_size != INPUT_SIZE:
            raise UserError(
                f"model.input_size is {in_words(input_size)}, but resnet50 takes {INPUT_SIZE}; "
                "other sizes need another model.backbone"
            )
        self.features = stages_of_stride_8()
        self.extras = nn.ModuleList(
            extra_block(before, squeeze, after, halve=index < HALVING_EXTRAS)
            for index, ((before, after), squeeze) in enumerate(
                zip(pairwise(CHANNELS), SQUEEZES, strict=True)
            )
        )
        xavier_init(self.extras)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The feature maps, finest first."""
        maps = [self.features(images)]
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps


def stages_of_stride_8() -> nn.Sequential:
    """Torchvision's ResNet-50 up to `layer3`, which no longer halves the map."""
    from torchvision.models import resnet50  # imports PyTorch's compiler: a second

    children = OrderedDict(resnet50(weights=None).named_children())
    for unused in ("layer4", "avgpool", "fc"):
        del children[unused]
    first = children["layer3"][0]
    # Torchvision's blocks halve the map in conv2, so conv1 already has stride 1.
    first.conv2.stride = first.downsample[0].stride = (1, 1)
    return nn.Sequential(children)


def extra_block(channels: int, squeeze: int, filters: int, *, halve: bool) -> nn.Sequential:
    """A 1×1 convolution, then a 3×3 one that halves the map or trims its border."""
    stride, padding = (2, 1) if halve else (1, 0)
    return nn.Sequential(
        nn.Conv2d(channels, squeeze, 1, bias=False),
        BatchNorm(squeeze),
        nn.ReLU(inplace=True),
        nn.Conv2d(squeeze, filters, 3, stride, padding, bias=False),
        BatchNorm(filters),
        nn.ReLU(inplace=True),
    )
