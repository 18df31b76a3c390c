"""The multibox loss of each image, as sums: of the classes, and of the boxes.

Nothing is divided here: `ssd.loss.normalize` alone decides the divisor of a step's sums.
Everything is computed in fp32, whatever the predictions' dtype.
Source: Liu et al., SSD, equations 1 to 3, and Caffe's `MultiBoxLoss` layer.

Letters: `B` images, `P` default boxes, `C` classes with the background,
`X` parts of a box loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssd.config import LossConfig
from ssd.geometry.boxes import aligned_iou, decode
from ssd.loss.boxes import box_losses
from ssd.loss.prime import class_aware_weights, rank_weights
from ssd.structures import LossSums, Predictions, Targets


def multibox_loss(
    predictions: Predictions,
    targets: Targets,
    default_boxes_P4: Tensor,
    loss: LossConfig,
    class_weights_C: Tensor | None = None,
) -> LossSums:
    """The sums of the class loss and of the box loss of each image.

    The class loss counts the positives and, for each of them, the `loss.negatives_per_positive`
    eligible default boxes of the same image with the highest loss. An image without objects
    has no positives and contributes zero, unless `loss.min_negatives` asks for some negatives.

    Args:
        predictions: of the model.
        targets: of the same images.
        default_boxes_P4: in centre form, relative to the image.
        loss: the section of the config.
        class_weights_C: the weight of an object of each class, 1 for the background; None for
            equal ones.

    Returns:
        Sums and counts [B], float32; gradients flow from the sums to the predictions.
    """
    positive_BP = targets.labels > 0
    logits_BPC = predictions.logits.float()
    class_loss_BP, negative_BP = class_losses(logits_BPC, targets, loss)
    locations_BP4 = predictions.locations.float()
    # Unmatched boxes have undefined offsets: a NaN would reach the gradient despite the mask below.
    wanted_BP4 = targets.locations.where(positive_BP[..., None], 0.0)
    box_loss_BPX = box_losses(loss.boxes, locations_BP4, wanted_BP4, default_boxes_P4)
    if loss.prime_samples:
        with torch.no_grad():
            found, wanted = (decode(each, default_boxes_P4) for each in (locations_BP4, wanted_BP4))
            overlap_BP = aligned_iou(found, wanted)
        probability_BP = probability_of(logits_BPC, targets.labels)
        rank_BP = rank_weights(overlap_BP, targets.objects, targets.labels, class_loss_BP.detach())
        class_loss_BP = class_loss_BP * rank_BP
        box_loss_BPX = box_loss_BPX * class_aware_weights(probability_BP, positive_BP)[..., None]
    if class_weights_C is not None:
        weight_BP = class_weights_C[targets.labels]
        class_loss_BP, box_loss_BPX = class_loss_BP * weight_BP, box_loss_BPX * weight_BP[..., None]
    return LossSums(
        class_loss=class_loss_BP.where(positive_BP | negative_BP, 0.0).sum(1),
        box_loss=box_loss_BPX.where(positive_BP[..., None], 0.0).sum((1, 2)),
        num_positives=targets.num_positives,
    )


def class_losses(logits_BPC: Tensor, targets: Targets, loss: LossConfig) -> tuple[Tensor, Tensor]:
    """The class loss [B, P] of each default box, and a mask [B, P] of the negatives that count."""
    loss_BP = F.cross_entropy(
        logits_BPC.flatten(0, 1),
        targets.labels.flatten(),
        reduction="none",
        label_smoothing=loss.label_smoothing,
    ).view_as(targets.labels)
    if loss.classes == "focal":
        return focal(loss_BP, logits_BPC, targets.labels, loss), targets.eligible
    num_negatives_B = loss.negatives_per_positive * targets.num_positives
    num_negatives_B = num_negatives_B.clamp(min=loss.min_negatives)
    return loss_BP, hard_negatives(loss_BP.detach(), targets.eligible, num_negatives_B)


def focal(loss_BP: Tensor, logits_BPC: Tensor, labels_BP: Tensor, loss: LossConfig) -> Tensor:
    """The cross-entropy [B, P] times alpha (1 - p)^gamma, p being the label's probability.

    Source: Lin et al., Focal Loss for Dense Object Detection, 2017, equation 5, with the softmax
    in the place of the sigmoid.
    """
    alpha_BP = torch.where(labels_BP > 0, loss.focal_alpha, 1 - loss.focal_alpha)
    # Where p is 1, the gradient of a power below 1 has no bound.
    miss_BP = (1 - probability_of(logits_BPC, labels_BP)).clamp(min=torch.finfo(torch.float32).tiny)
    return alpha_BP * miss_BP**loss.focal_gamma * loss_BP


def probability_of(logits_BPC: Tensor, labels_BP: Tensor) -> Tensor:
    """The predicted probability [B, P] of each label."""
    return logits_BPC.softmax(-1).gather(-1, labels_BP[..., None])[..., 0]


def hard_negatives(loss_BP: Tensor, eligible_BP: Tensor, count_B: Tensor) -> Tensor:
    """The eligible default boxes with the highest loss, `count_B` of each image, as bool [B, P].

    An image with fewer eligible boxes than that contributes all of them.
    """
    hardness_BP = loss_BP.masked_fill(~eligible_BP, -torch.inf)
    order_BP = hardness_BP.argsort(dim=1, descending=True)
    among_hardest_BP = torch.arange(loss_BP.shape[1], device=loss_BP.device) < count_B[:, None]
    chosen_BP = torch.zeros_like(eligible_BP).scatter_(1, order_BP, among_hardest_BP)
    return chosen_BP & eligible_BP
