"""Caffe's matching of default boxes to objects, for a whole batch at once.

First, every object gets a default box of its own by greedy bipartite matching: the pair of object
and default box with the highest remaining overlap is taken, both are removed, and this repeats.
Then every default box that is still free takes the object it overlaps most, if that overlap
reaches the threshold. Other trainers give each object its best default box in one go; if two
objects share the same best one, one of them may get no default box and is never learned.
Source: Liu et al., SSD, section 2.2, "Matching strategy", and Caffe's `MatchBBox`.

Matching does not use the predictions, so the positives of a step can be counted before its first
forward pass. There is no loop over single images, and nothing is read back to the host.

Letters: `B` images, `G` ground-truth boxes (padded), `P` default boxes, `K` candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ssd.geometry.boxes import encode, pairwise_iou, to_corner_form
from ssd.structures import Targets

MIN_BIPARTITE_IOU = 1e-6  # as in Caffe's `MatchBBox`
CPU_CACHE_ELEMENTS = 2**20


def match(
    boxes_BG4: Tensor,
    labels_BG: Tensor,
    default_boxes_P4: Tensor,
    match_iou: float = 0.5,
    negative_iou: float = 1.0,
) -> Targets:
    """Returns the training targets of every default box of every image.

    Args:
        boxes_BG4: ground truth, xyxy relative to the image, G ≥ 1; boxes without area are padding.
        labels_BG: classes from 1, int64.
        default_boxes_P4: centre form, relative to the image.
        match_iou: lowest overlap at which a default box is matched.
        negative_iou: an unmatched default box may be a hard negative if it overlaps every
            object less than this (Caffe's `neg_overlap`).

    Returns:
        Targets on the device of the boxes.
    """
    found = overlaps(boxes_BG4, to_corner_form(default_boxes_P4))
    own_BP = bipartite(found.candidate_iou, found.candidates, len(default_boxes_P4))
    owned_BP = own_BP >= 0
    object_BP = torch.where(owned_BP, own_BP, found.best_object)
    positive_BP = owned_BP | (found.best_iou >= match_iou)

    matched_boxes_BP4 = boxes_BG4.gather(1, object_BP[..., None].expand(-1, -1, 4))
    matched_labels_BP = labels_BG.gather(1, object_BP)
    return Targets(
        labels=matched_labels_BP * positive_BP,
        locations=encode(matched_boxes_BP4, default_boxes_P4),
        eligible=~positive_BP & (found.best_iou < negative_iou),
        num_positives=positive_BP.sum(1, dtype=torch.float32),
        objects=object_BP,
    )


class Overlaps(NamedTuple):
    """The parts of the overlaps [B, G, P] that matching needs; the whole is too large to keep.

    The other objects take at most G - 1 default boxes, so one of an object's G best is always
    left: K = min(G, P) candidates per object are enough for exact matching.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | best_iou | [B, P] | float32 | the highest overlap of every default box |
    | best_object | [B, P] | int64 | the object with that overlap |
    | candidate_iou | [B, G, K] | float64 | its best overlaps, highest first, with ties broken |
    | candidates | [B, G, K] | int64 | the default boxes with these overlaps, of every object |
    """

    best_iou: Tensor
    best_object: Tensor
    candidate_iou: Tensor
    candidates: Tensor


def overlaps(boxes_BG4: Tensor, default_boxes_P4: Tensor) -> Overlaps:
    """The overlaps of the objects of each image with the default boxes, in corner form.

    A CPU processes a few images at a time, so that their overlaps stay in its cache (five times
    faster at 32 images of 60 boxes); an accelerator processes all images at once.
    """
    B, G, _ = boxes_BG4.shape
    P = len(default_boxes_P4)
    # A small object inside several default boxes of one size overlaps them equally, and the first
    # of them has to win on every device. Box p loses p times 2^-50 of its overlap: enough for
    # float64 to tell equal overlaps apart (2^-53), but in total far below the spacing of float32
    # (2^-24), so the order of unequal overlaps does not change.
    first_wins_P = 1 - torch.arange(P, dtype=torch.float64, device=boxes_BG4.device) * 2.0**-50
    on_cpu = boxes_BG4.device.type == "cpu"
    images = max(1, CPU_CACHE_ELEMENTS // (G * P)) if on_cpu else B
    parts = []
    for boxes_bG4 in torch.split(boxes_BG4, images):
        iou_bGP = pairwise_iou(boxes_bG4, default_boxes_P4)
        ranked_bGP = iou_bGP.double() * first_wins_P
        parts.append((*iou_bGP.max(dim=1), *ranked_bGP.topk(min(G, P), dim=2)))
    return Overlaps(*map(torch.cat, zip(*parts, strict=True)))


def bipartite(iou_BGK: Tensor, box_BGK: Tensor, num_default_boxes: int) -> Tensor:
    """The object [B, P] int64 that owns each default box after greedy matching, or -1."""
    B, G, K = iou_BGK.shape
    iou_BGK = iou_BGK.where(iou_BGK > MIN_BIPARTITE_IOU, -1.0)
    own_BP = box_BGK.new_full((B, num_default_boxes), -1)
    image_B, object_G = (torch.arange(count, device=iou_BGK.device) for count in (B, G))
    for _ in range(G):  # each round matches one object in every image
        iou_B, pair_B = iou_BGK.flatten(1).max(dim=1)
        object_B = pair_B // K
        box_B = box_BGK.flatten(1).gather(1, pair_B[:, None])[:, 0]
        # An image with no pair left keeps its owners; a branch instead would read from the device.
        own_BP[image_B, box_B] = torch.where(iou_B > 0, object_B, own_BP[image_B, box_B])
        # A mask, since a number written through an index is copied to a GPU while the host waits.
        is_matched_BG1 = (object_G == object_B[:, None])[..., None]
        iou_BGK.masked_fill_(is_matched_BG1 | (box_BGK == box_B[:, None, None]), -1.0)
    return own_BP
