"""Boxes: overlap, conversions, and the encoding that the network predicts.

Boxes are xyxy, continuous and half-open; any unit, as long as it is the same throughout.
Letters: `B` images, `G` ground-truth boxes, `P` default boxes; `...` is any leading shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

CENTRE_VARIANCE = 0.1
SIZE_VARIANCE = 0.2


def area(boxes: Tensor) -> Tensor:
    """Areas [...] of boxes [..., 4]; zero where a side is not positive."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def pairwise_iou(boxes_BG4: Tensor, others_P4: Tensor) -> Tensor:
    """Intersection over union [B, G, P] of every box [B, G, 4] with every other box [P, 4].

    A box without area overlaps nothing. The computation works in place on two buffers of the
    result's size, since memory traffic dominates its cost for a large batch.
    """
    x1_BG, y1_BG, x2_BG, y2_BG = boxes_BG4[..., None, :].unbind(-1)
    x1_P, y1_P, x2_P, y2_P = others_P4.t().contiguous().unbind(0)
    inter_BGP = torch.minimum(x2_BG, x2_P).sub_(torch.maximum(x1_BG, x1_P)).clamp_(min=0)
    inter_BGP *= torch.minimum(y2_BG, y2_P).sub_(torch.maximum(y1_BG, y1_P)).clamp_(min=0)
    union_BGP = (area(boxes_BG4)[..., None] + area(others_P4)).sub_(inter_BGP)
    return inter_BGP.div_(union_BGP.clamp_(min=torch.finfo(union_BGP.dtype).tiny))


def aligned_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union [...] of each box [..., 4] with the other at its place [..., 4]."""
    corner = torch.maximum(boxes[..., :2], others[..., :2])
    inter = area(torch.cat([corner, torch.minimum(boxes[..., 2:], others[..., 2:])], -1))
    union = area(boxes) + area(others) - inter
    return inter / union.clamp(min=torch.finfo(union.dtype).tiny)


def to_centre_form(boxes: Tensor) -> Tensor:
    """From (x1, y1, x2, y2) [..., 4] to (centre x, centre y, width, height) [..., 4]."""
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)


def to_corner_form(boxes: Tensor) -> Tensor:
    """From (centre x, centre y, width, height) [..., 4] to (x1, y1, x2, y2) [..., 4]."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def encode(boxes: Tensor, default_boxes_P4: Tensor) -> Tensor:
    """Offsets [..., P, 4] from default boxes [P, 4] (centre form) to boxes [..., P, 4] (xyxy).

    Liu et al., SSD, equation 2, divided by the variances 0.1 and 0.2 as in Caffe's
    `EncodeBBox`. Widths and heights must be positive where the result is used.
    """
    centre_form = to_centre_form(boxes)
    centres, sizes = default_boxes_P4[:, :2], default_boxes_P4[:, 2:]
    return torch.cat(
        [
            (centre_form[..., :2] - centres) / (sizes * CENTRE_VARIANCE),
            torch.log(centre_form[..., 2:] / sizes) / SIZE_VARIANCE,
        ],
        -1,
    )


def decode(locations: Tensor, default_boxes: Tensor) -> Tensor:
    """The boxes [..., P, 4] (xyxy) for offsets [..., P, 4]; the inverse of `encode`.

    The default boxes are either [P, 4], or [..., P, 4] with one for each offset.
    """
    centres, sizes = default_boxes[..., :2], default_boxes[..., 2:]
    return to_corner_form(
        torch.cat(
            [
                centres + locations[..., :2] * (sizes * CENTRE_VARIANCE),
                sizes * torch.exp(locations[..., 2:] * SIZE_VARIANCE),
            ],
            -1,
        )
    )
