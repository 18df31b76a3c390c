"""Prime samples: more weight for the positives on which the detections depend.

Of the default boxes of an object, the one whose prediction overlaps it most is what non-maximum
suppression keeps. PISA weights the positives accordingly:

- *Reweighting by rank* (ISR-P), of the class loss. The positives of an object are ranked by the
  overlap of their predicted boxes; then the positives of a class by this rank and, among equals, by
  their overlap. The weight falls from 1 at the first of a class to nearly 0, squared.
- *Classification-aware regression* (CARL), of the box loss: the weight is 0.2 + 0.8 p, where p is
  the predicted probability of the object's class. Its gradient also raises p where the box is good.

The first keeps the sum of the losses, the second the mean of the weights. Ranks, sums and means are
those of an image, so that its loss does not depend on the images beside it; the paper's are those
of the images on a GPU. Source: Cao et al., Prime Sample Attention in Object Detection, CVPR 2020,
sections 4 and 5.

Letters: `B` images, `P` default boxes, `C` classes with the background.
"""

from __future__ import annotations

import torch
from torch import Tensor

RANK_POWER, CLASS_SHARE = 2.0, 0.8
TINY = 1e-12


def rank_weights(
    overlap_BP: Tensor, objects_BP: Tensor, labels_BP: Tensor, loss_BP: Tensor
) -> Tensor:
    """The weight [B, P] of each positive's class loss; 1 where there is no positive.

    Args:
        overlap_BP: of the predicted box with the matched object; without a gradient.
        objects_BP: number of the matched object in its image.
        labels_BP: its class; 0 where unmatched.
        loss_BP: class loss, without a gradient.
    """
    positive_BP = labels_BP > 0
    best_first = [(-overlap_BP).where(positive_BP, 2.0)]  # what is unmatched comes last
    within_object_BP = place_in_group(objects_BP.where(positive_BP, -1), best_first)
    within_class_BP = place_in_group(labels_BP, [within_object_BP, *best_first])
    counts_BC = torch.zeros_like(labels_BP).scatter_add_(1, labels_BP, positive_BP.long())
    most_B1 = counts_BC.max(1, keepdim=True).values.clamp(min=1)
    weight_BP = ((most_B1 - within_class_BP) / most_B1).clamp(min=0) ** RANK_POWER
    return kept_sum(weight_BP, loss_BP, positive_BP)


def class_aware_weights(probability_BP: Tensor, positive_BP: Tensor) -> Tensor:
    """The weight [B, P] of each positive's box loss, 1 on average, with a gradient.

    Args:
        probability_BP: predicted for the class of the matched object.
        positive_BP: which are matched.
    """
    weight_BP = 1 - CLASS_SHARE + CLASS_SHARE * probability_BP
    return kept_sum(weight_BP, torch.ones_like(probability_BP), positive_BP)


def kept_sum(weight_BP: Tensor, loss_BP: Tensor, positive_BP: Tensor) -> Tensor:
    """The weights, scaled so that they keep the sum of the losses of each image's positives."""
    loss_BP = loss_BP.where(positive_BP, 0.0)
    whole_B1 = loss_BP.sum(1, keepdim=True)
    weighted_B1 = (weight_BP * loss_BP).sum(1, keepdim=True)
    scaled_BP = weight_BP * (whole_B1 / weighted_B1.clamp(min=TINY))
    return scaled_BP.where(positive_BP, 1.0)


def place_in_group(groups_BP: Tensor, keys: list[Tensor]) -> Tensor:
    """The place [B, P], from 0 on, of each box in its group by the keys, the first key first."""
    order_BP = torch.arange(groups_BP.shape[1], device=groups_BP.device).expand_as(groups_BP)
    for key in (*reversed(keys), groups_BP):
        order_BP = order_BP.gather(1, key.gather(1, order_BP).argsort(dim=1, stable=True))
    sorted_BP = groups_BP.gather(1, order_BP).contiguous()
    first_BP = torch.searchsorted(sorted_BP, sorted_BP)
    places_BP = torch.arange(groups_BP.shape[1], device=groups_BP.device) - first_BP
    return torch.empty_like(groups_BP).scatter_(1, order_BP, places_BP)
