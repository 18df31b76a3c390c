"""The multibox head: class logits and offsets for every default box.

Letters: `B` images, `P` default boxes, `C` classes with the background, `K` default boxes at one
position of a feature map, `H`, `W` the map's rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssd.model.layers import BatchNorm, xavier_init
from ssd.structures import Predictions


class MultiboxHead(nn.Module):
    """One small predictor per feature map for the classes and one for the offsets.

    Args:
        channels: channels of each feature map.
        boxes_per_position: default boxes at each position of each feature map.
        num_classes: C, with the background.
        separable: whether a predictor is a depthwise 3×3 and a 1×1 convolution (SSDLite)
            instead of a full 3×3 convolution.
        scale: factor on the initial weights of each predictor's last convolution.
    """

    def __init__(
        self,
        channels: Sequence[int],
        boxes_per_position: Sequence[int],
        num_classes: int,
        *,
        separable: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        predictor = separable_predictor if separable else full_predictor
        self.num_classes = num_classes
        pairs = list(zip(channels, boxes_per_position, strict=True))
        self.logits = nn.ModuleList(predictor(width, K * num_classes) for width, K in pairs)
        self.locations = nn.ModuleList(predictor(width, K * 4) for width, K in pairs)
        xavier_init(self)
        for predict in (*self.logits, *self.locations):
            last = list(predict.modules())[-1]
            assert isinstance(last, nn.Conv2d)
            last.weight.data *= scale

    def expect_background(self, share: float) -> None:
        """Makes the first predictions say background with this probability, 0 … 1.

        The focal loss sums over all default boxes, nearly all of them background: it would start in
        the thousands. Source: Lin et al., Focal Loss for Dense Object Detection, section 4.1.
        """
        for predict in self.logits:
            bias = list(predict.modules())[-1].bias
            assert isinstance(bias, Tensor)
            odds = share / (1 - share) * (self.num_classes - 1)
            bias.data.view(-1, self.num_classes)[:, 0] = math.log(odds)

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Predictions for the default boxes of all maps [B, channels, H, W], in the maps' order."""
        logits = [
            channels_to_boxes(predict(features), self.num_classes)
            for predict, features in zip(self.logits, maps, strict=True)
        ]
        locations = [
            channels_to_boxes(predict(features), 4)
            for predict, features in zip(self.locations, maps, strict=True)
        ]
        return Predictions(torch.cat(logits, 1), torch.cat(locations, 1))


def channels_to_boxes(output: Tensor, values: int) -> Tensor:
    """Turns [B, K·values, H, W] into [B, H·W·K, values]; a view if memory is channels_last.

    B may be 0: in a short step, a rank can be left without images.
    """
    B, channels, H, W = output.shape
    return output.permute(0, 2, 3, 1).reshape(B, H * W * channels // values, values)


def full_predictor(channels: int, outputs: int) -> nn.Module:
    """A 3×3 convolution, as in Liu et al., SSD, section 2.1."""
    return nn.Conv2d(channels, outputs, 3, padding=1)


def separable_predictor(channels: int, outputs: int) -> nn.Module:
    """A depthwise 3×3 and a 1×1 convolution: SSDLite, Sandler et al., MobileNetV2, section 6.2."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        BatchNorm(channels),
        nn.ReLU6(inplace=True),
        nn.Conv2d(channels, outputs, 1),
    )
