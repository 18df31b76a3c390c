"""The top-down feature pyramid between a backbone's maps and the head: `model.pyramid`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from ssd.model.layers import BatchNorm


class FeaturePyramid(nn.Module):
    """Adds what coarse maps know to the finer ones; all get the same number of channels.

    Source: Lin et al., Feature Pyramid Networks (2017), section 3, by torchvision's module. The
    batch normalisation, as in TensorFlow's SSD with a pyramid, makes alike the scales of a
    backbone's maps. The head is one convolution, and without the ReLU it would add no layer.

    Args:
        channels: channels of each map of the backbone.
        width: channels of each map that the pyramid gives.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork  # imports PyTorch's compiler: a second

        self.network = FeaturePyramidNetwork(list(channels), width, norm_layer=BatchNorm)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The pyramid's maps [B, width, H, W], of the sizes of `maps`, finest first."""
        merged = self.network({str(place): each for place, each in enumerate(maps)})
        return [functional.relu(each) for each in merged.values()]
