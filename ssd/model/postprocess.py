"""Predictions → Detections: scores, boxes, and one box for each object.

Letters: `B` images, `P` default boxes, `C` classes, `K` best default boxes of a class, `N`
candidates of the whole batch, in the order image → class → falling score.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import nms

from ssd.config import EvaluationConfig
from ssd.geometry.boxes import decode
from ssd.structures import Detections, Predictions

# One call of NMS on a GPU takes N² bits: 300 MB at 50,000.
LARGEST_CALL = 50_000


@torch.no_grad()
def postprocess(
    predictions: Predictions, default_boxes_P4: Tensor, config: EvaluationConfig
) -> list[Detections]:
    """The detections of each image, by the rules of the paper.

    Of each class the `top_k` best default boxes above `score_threshold` are decoded and clipped to
    the image. Of those that overlap more than `nms_iou` the best stays; classes never suppress each
    other. Of all classes together the best `max_detections` stay. The result equals that of
    torchvision's SSD. Predictions that are not finite are left out.

    Args:
        predictions: logits [B, P, C], background first, and locations [B, P, 4], of any floating
            type.
        default_boxes_P4: centre form, relative to the image.
        config: the thresholds.

    Returns:
        One Detections per image, on the device of the predictions.
    """
    scores_BCK, box_BCK = best_of_each_class(predictions.logits, config.top_k)
    found = (scores_BCK > config.score_threshold).nonzero(as_tuple=True)
    image_N, box_N, scores_N = found[0], box_BCK[found], scores_BCK[found]
    boxes_N4 = decode(predictions.locations[image_N, box_N].float(), default_boxes_P4[box_N])

    num_images, num_classes, _ = scores_BCK.shape
    group_N = image_N * num_classes + found[1]
    finite_N = boxes_N4.isfinite().all(1)
    boxes_N4 = boxes_N4[finite_N].clamp(0, 1)
    scores_N, group_N = scores_N[finite_N], group_N[finite_N]
    counts_BC = group_N.bincount(minlength=num_images * num_classes).view(num_images, num_classes)

    kept_N = suppress(boxes_N4, scores_N, group_N, call_sizes(counts_BC), config.nms_iou)
    per_image = counts_BC.sum(1).tolist()
    pieces = (item.split_with_sizes(per_image) for item in (boxes_N4, scores_N, group_N, kept_N))
    return [
        best_of_image(boxes[kept], scores[kept], group[kept] % num_classes + 1, config)
        for boxes, scores, group, kept in zip(*pieces, strict=True)
    ]


def best_of_each_class(logits_BPC: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Best scores [B, C−1, K] of the classes, falling, and the default boxes they belong to."""
    scores_BPC = logits_BPC.softmax(-1, dtype=torch.float32)[..., 1:].nan_to_num_(nan=0.0)
    scores_BCP = scores_BPC.transpose(1, 2).contiguous()
    top = scores_BCP.topk(min(top_k, scores_BCP.shape[-1]))
    return top.values, top.indices


def call_sizes(counts_BC: Tensor) -> list[int]:
    """How many successive candidates go into each call of NMS, given those of each class.

    On a CPU its time grows with their number squared, so each class of each image is a call of its
    own. On a GPU each call costs a launch and a wait, so the batch is one call if it fits.
    """
    if counts_BC.device.type == "cpu":
        counts: list[int] = counts_BC.flatten().tolist()
        return [count for count in counts if count > 0]
    per_image: list[int] = counts_BC.sum(1).tolist()
    return [sum(per_image)] if sum(per_image) <= LARGEST_CALL else per_image


def suppress(
    boxes_N4: Tensor, scores_N: Tensor, group_N: Tensor, sizes: Sequence[int], iou: float
) -> Tensor:
    """Which candidates [N] stay, when only those of the same group suppress each other.

    Groups are kept apart by a shift, in float64 because thousands of them would cost float32 the
    digits that tell the boxes apart.
    """
    shifted_N4 = boxes_N4.double() + 2.0 * group_N[:, None]
    kept_N = torch.zeros_like(scores_N, dtype=torch.bool)
    pieces = (
        shifted_N4.split_with_sizes(sizes),
        scores_N.double().split_with_sizes(sizes),
        kept_N.split_with_sizes(sizes),
    )
    for boxes, scores, kept in zip(*pieces, strict=True):
        kept[nms(boxes, scores, iou)] = True
    return kept_N


def best_of_image(
    boxes: Tensor, scores: Tensor, labels: Tensor, config: EvaluationConfig
) -> Detections:
    """The best `max_detections` of one image, best first."""
    order = scores.argsort(descending=True, stable=True)[: config.max_detections]
    return Detections(boxes[order], scores[order], labels[order])
