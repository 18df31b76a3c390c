"""The multibox loss of each image, as sums: cross-entropy and Smooth-L1.

Nothing is divided here: `ssd.loss.normalize` alone decides the divisor of a step's sums.
Everything is computed in fp32, whatever the predictions' dtype.
Source: Liu et al., SSD, equations 1 to 3, and Caffe's `MultiBoxLoss` layer.

Letters: `B` images, `P` default boxes, `C` classes with the background.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssd.structures import LossSums, Predictions, Targets


def multibox_loss(
    predictions: Predictions,
    targets: Targets,
    negatives_per_positive: float = 3.0,
    min_negatives: int = 0,
) -> LossSums:
    """The sums of the class loss and of the box loss of each image.

    The class loss counts the positives and, for each of them, the `negatives_per_positive`
    eligible default boxes of the same image with the highest loss. An image without objects
    has no positives and contributes zero, unless `min_negatives` asks for some negatives.

    Returns:
        Sums and counts [B], float32; gradients flow from the sums to the predictions.
    """
    positive_BP = targets.labels > 0
    class_loss_BP = F.cross_entropy(
        predictions.logits.float().flatten(0, 1), targets.labels.flatten(), reduction="none"
    ).view_as(positive_BP)
    num_negatives_B = (negatives_per_positive * targets.num_positives).clamp(min=min_negatives)
    hard_BP = hard_negatives(class_loss_BP.detach(), targets.eligible, num_negatives_B)
    # Unmatched boxes have undefined offsets: a NaN would reach the gradient despite the mask below.
    box_loss_BP4 = F.smooth_l1_loss(
        predictions.locations.float(),
        targets.locations.where(positive_BP[..., None], 0.0),
        reduction="none",
    )
    return LossSums(
        class_loss=class_loss_BP.where(positive_BP | hard_BP, 0.0).sum(1),
        box_loss=box_loss_BP4.where(positive_BP[..., None], 0.0).sum((1, 2)),
        num_positives=targets.num_positives,
    )


def hard_negatives(loss_BP: Tensor, eligible_BP: Tensor, count_B: Tensor) -> Tensor:
    """The eligible default boxes with the highest loss, `count_B` of each image, as bool [B, P].

    An image with fewer eligible boxes than that contributes all of them.
    """
    hardness_BP = loss_BP.masked_fill(~eligible_BP, -torch.inf)
    order_BP = hardness_BP.argsort(dim=1, descending=True)
    among_hardest_BP = torch.arange(loss_BP.shape[1], device=loss_BP.device) < count_B[:, None]
    chosen_BP = torch.zeros_like(eligible_BP).scatter_(1, order_BP, among_hardest_BP)
    return chosen_BP & eligible_BP
