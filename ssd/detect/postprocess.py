"""Predictions → Detections: scores, boxes, and one box for each object.

On a GPU, `ssd.detect.padded` finds the detections with fixed shapes and without waiting. Elsewhere,
time goes with the number of candidates looked at. Suppression of a candidate depends only on
candidates with higher scores. So it runs on the best candidates of an image first, all classes
together: if enough of them stay, no other candidate can be among the detections, and most are never
looked at.

Letters: `B` images, `P` default boxes, `C` classes, `M` all pairs of a default box and a class,
`N` the best of them in each image, best first, `V` candidates of a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ssd.augment.batch import finds_compiler
from ssd.config import EvaluationConfig
from ssd.detect.candidates import class_scores, clipped_boxes
from ssd.detect.padded import padded_detections, unpad
from ssd.structures import Detections, Predictions

# Candidates looked at first, per detection wanted, and the factor by which each next look grows.
FIRST_LOOK = 5
NEXT_LOOK = 4
# One call of NMS on a GPU takes V² bits: 300 MB at 50,000.
LARGEST_CALL = 50_000


def postprocess(
    predictions: Predictions, default_boxes_P4: Tensor, config: EvaluationConfig
) -> list[Detections]:
    """The detections of each image, by the rules of the paper.

    For each class, the `top_k` best default boxes above `score_threshold` are decoded and clipped
    to the image. Of those that overlap more than `nms_iou`, the best stays; classes never suppress
    each other. Over all classes, the best `max_detections` stay. Equal scores count in order of
    default box, then class. The result equals that of torchvision's SSD. Predictions that are not
    finite are left out.

    Args:
        predictions: logits [B, P, C], background first, and locations [B, P, 4], of any floating
            type.
        default_boxes_P4: centre form, relative to the image.
        config: the thresholds.

    Returns:
        One Detections per image, on the CPU.
    """
    if predictions.logits.is_cuda and finds_compiler():
        return unpad(padded_detections(predictions, default_boxes_P4, config).cpu())
    return search(predictions, default_boxes_P4, config)


def search(
    predictions: Predictions, default_boxes_P4: Tensor, config: EvaluationConfig
) -> list[Detections]:
    """The detections of `postprocess`, found among as few candidates as possible."""

    def boxes_of(box_BN: Tensor) -> tuple[Tensor, Tensor]:
        locations_BN4 = predictions.locations.gather(1, box_BN[..., None].expand(-1, -1, 4))
        return clipped_boxes(locations_BN4, default_boxes_P4[box_BN])

    return chosen(class_scores(predictions), boxes_of, config)


@torch.no_grad()
def chosen(
    scores_BPC: Tensor,
    boxes_of: Callable[[Tensor], tuple[Tensor, Tensor]],
    config: EvaluationConfig,
) -> list[Detections]:
    """The detections among scored default boxes, as `postprocess` gives them.

    Args:
        scores_BPC: probabilities, background first; that of the background is set to 0.
        boxes_of: places [B, N] of default boxes → their boxes [B, N, 4], relative to the image and
            clipped to it, and a mask [B, N] of those that are finite.
        config: the thresholds.
    """
    images, _, num_classes = scores_BPC.shape
    image_B1 = torch.arange(images, device=scores_BPC.device)[:, None]
    # A call costs a launch and a wait on a GPU; on a CPU its time grows with the square of the
    # number of boxes kept.
    on_gpu = scores_BPC.is_cuda
    scores_BPC[..., 0] = 0
    scores_BM = scores_BPC.flatten(1)
    looked_at = min(FIRST_LOOK * config.max_detections, scores_BM.shape[1])
    while True:
        scores_BN, pair_BN = best(scores_BM, looked_at)
        box_BN, labels_BN = pair_BN // num_classes, pair_BN % num_classes
        boxes_BN4, finite_BN = boxes_of(box_BN)
        candidate_BN = (scores_BN > config.score_threshold) & finite_BN
        candidate_BN &= rank_in_class(labels_BN) < config.top_k
        group_BN = image_B1 * num_classes + labels_BN
        kept_BN = suppress(boxes_BN4, group_BN, candidate_BN, config.nms_iou, on_gpu)
        enough_B = kept_BN.sum(1) >= config.max_detections
        no_more_B = scores_BN[:, -1] <= config.score_threshold
        if looked_at == scores_BM.shape[1] or bool((enough_B | no_more_B).all()):
            break
        looked_at = min(NEXT_LOOK * looked_at, scores_BM.shape[1])
    detections = []
    for image, kept_N in enumerate(kept_BN):
        first = kept_N.nonzero()[: config.max_detections, 0]
        found = (item[image, first].cpu() for item in (boxes_BN4, scores_BN, labels_BN))
        detections.append(Detections(*found))
    return detections


def best(scores_BM: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` best scores [B, N] of each image, in descending order, and their positions.

    Of equal scores, those of lower position come first.
    """
    top = scores_BM.topk(min(count + 1, scores_BM.shape[1]))
    where_BN = top.indices[:, :count]
    last_B1 = top.values[:, count - 1 : count]
    if bool((top.values[:, count:] == last_B1).any()):  # `topk` takes any of equal scores
        above_BM, equal_BM = scores_BM > last_B1, scores_BM == last_B1
        places_B1 = count - above_BM.sum(1, keepdim=True)
        above_BM |= equal_BM & (equal_BM.cumsum(1) <= places_B1)
        where_BN = above_BM.nonzero()[:, 1].view(-1, count)
    where_BN = where_BN.sort().values
    scores_BN, order_BN = scores_BM.gather(1, where_BN).sort(descending=True, stable=True)
    return scores_BN, where_BN.gather(1, order_BN)


def rank_in_class(labels_BN: Tensor) -> Tensor:
    """For each entry [B, N], the number of entries before it in its image with the same label."""
    sorted_BN, order_BN = labels_BN.sort(stable=True)
    place_BN = torch.arange(labels_BN.shape[1], device=labels_BN.device).expand_as(labels_BN)
    rank_BN = place_BN - torch.searchsorted(sorted_BN, sorted_BN)
    return torch.empty_like(rank_BN).scatter_(1, order_BN, rank_BN)


def suppress(
    boxes_BN4: Tensor, group_BN: Tensor, candidate_BN: Tensor, iou: float, one_call: bool
) -> Tensor:
    """Mask of the candidates [B, N], best first, that stay; only those of one group compete.

    A shift keeps the groups apart, in float64 because with thousands of groups float32 would lose
    the digits that tell the boxes apart. NMS runs once for the batch if `one_call` is set and the
    batch fits, else once for each image; a group has to lie within one image.
    """
    from torchvision.ops import nms  # imports PyTorch's compiler, which takes a second

    shifted_V4 = (boxes_BN4.double() + 2.0 * group_BN[..., None])[candidate_BN]
    falling_V = torch.arange(len(shifted_V4), 0, -1, device=group_BN.device).double()
    whole = one_call and len(shifted_V4) <= LARGEST_CALL
    sizes = [len(shifted_V4)] if whole else candidate_BN.sum(1).tolist()
    kept_V = torch.zeros_like(falling_V, dtype=torch.bool)
    parts = (item.split_with_sizes(sizes) for item in (shifted_V4, falling_V, kept_V))
    for boxes, falling, kept in zip(*parts, strict=True):
        kept[nms(boxes, falling, iou)] = True
    return torch.zeros_like(candidate_BN).masked_scatter_(candidate_BN, kept_V)
