"""The loss of a matched default box's offsets: Smooth-L1, or one of the overlap.

Smooth-L1 treats the four offsets apart. GIoU and CIoU are losses of the boxes themselves: 1 minus
the overlap, plus a penalty that still has a gradient where they do not overlap (GIoU) or that draws
centres and aspect ratios together (CIoU).
Sources: Liu et al., SSD, equation 2; Rezatofighi et al., Generalized Intersection over Union, 2019;
Zheng et al., Distance-IoU Loss, 2020.

Letters: `B` images, `P` default boxes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import complete_box_iou_loss, generalized_box_iou_loss

from ssd.config import BoxLoss
from ssd.geometry.boxes import decode

SIDE = 1024.0  # of an image, in which torchvision's guard against a division by 0 is negligible
FARTHEST = 20.0  # offset of a size, in variances: e^4 = 55 times the default box, or a part of it
FARTHEST_CENTRE = 1e4  # offset of a centre: 1,000 default boxes; sides get lost beyond 10^8


def box_losses(kind: BoxLoss, found_BP4: Tensor, wanted_BP4: Tensor, default_P4: Tensor) -> Tensor:
    """The loss of each default box: [B, P, 4] of its offsets, or [B, P, 1] of its overlap.

    Args:
        kind: the loss.
        found_BP4: predicted offsets, float32.
        wanted_BP4: offsets of the matched objects; finite.
        default_P4: default boxes in centre form, relative to the image.
    """
    if kind == "smooth_l1":
        return F.smooth_l1_loss(found_BP4, wanted_BP4, reduction="none")
    # A box without area or without bound has no gradient; a matched object is never far from its
    # default box.
    centres_BP2 = found_BP4[..., :2].clamp(-FARTHEST_CENTRE, FARTHEST_CENTRE)
    sizes_BP2 = found_BP4[..., 2:].clamp(-FARTHEST, FARTHEST)
    bounded_BP4 = torch.cat([centres_BP2, sizes_BP2], -1)
    found, wanted = (SIDE * decode(each, default_P4) for each in (bounded_BP4, wanted_BP4))
    loss = generalized_box_iou_loss if kind == "giou" else complete_box_iou_loss
    losses_BP: Tensor = loss(found, wanted)
    return losses_BP[..., None]
