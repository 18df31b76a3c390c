"""The default boxes of a feature pyramid, by Caffe's rule and in Caffe's order.

Every position of every feature map has boxes of a few shapes: a square of the map's own size, a
square whose side is the geometric mean of this and the next map's size, and for every aspect
ratio `a` one box of `a` and one of `1/a`. By default nothing is clipped to the image (Caffe's
`clip: false`). Shapes are in pixels of the input, so that a square is square there even if the
input is not.
Source: Liu et al., SSD, section 2.2, and Caffe's `PriorBoxLayer`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssd.common.sides import Size, both


@dataclass(frozen=True)
class FeatureMap:
    """The layout of the default boxes on one feature map; lengths in pixels of the input.

    Attributes:
        size: rows and columns of the map; one number if they are equal.
        step: distance between two neighbouring rows and columns; one number if they are equal.
        min_size: side of the small square.
        max_size: the next map's `min_size`.
        aspect_ratios: each `a` > 1 adds a box of `a` and one of `1/a`.
    """

    size: Size
    step: float | tuple[float, float]
    min_size: float
    max_size: float
    aspect_ratios: tuple[float, ...]

    @property
    def boxes_per_position(self) -> int:
        """The number of default boxes at each position."""
        return 2 + 2 * len(self.aspect_ratios)


def box_shapes(feature_map: FeatureMap) -> list[tuple[float, float]]:
    """(width, height) in pixels of the boxes at one position, in Caffe's order."""
    small = feature_map.min_size
    middle = math.sqrt(small * feature_map.max_size)
    shapes = [(small, small), (middle, middle)]
    for ratio in feature_map.aspect_ratios:
        root = math.sqrt(ratio)
        shapes += [(small * root, small / root), (small / root, small * root)]
    return shapes


def default_boxes(
    feature_maps: Sequence[FeatureMap], input_size: Size, *, clamp: bool = False
) -> Tensor:
    """Default boxes [P, 4] as (centre x, centre y, width, height) relative to the image, float32.

    Order: feature map → row → column → box.

    Args:
        feature_maps: finest first.
        input_size: height and width of the input in pixels; one number if they are equal.
        clamp: whether widths and heights are limited to the image's, as in torchvision's
            `DefaultBoxGenerator`; centres stay where they are.
    """
    rows = []
    for feature_map in feature_maps:
        y_centres, x_centres = (
            [(index + 0.5) * step for index in range(count)]
            for count, step in zip(both(feature_map.size), both(feature_map.step), strict=True)
        )
        shapes = box_shapes(feature_map)
        rows += [
            (x, y, width, height) for y in y_centres for x in x_centres for width, height in shapes
        ]
    input_height, input_width = both(input_size)
    sides_4 = torch.tensor([input_width, input_height] * 2, dtype=torch.float64)
    boxes_P4 = (torch.tensor(rows, dtype=torch.float64) / sides_4).float()
    if clamp:
        boxes_P4[:, 2:].clamp_(max=1)
    return boxes_P4
