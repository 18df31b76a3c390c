"""The random crop: one of Caffe's seven samplers draws a window that overlaps an object enough.

One sampler takes the whole canvas. Each of the others tries random windows until one overlaps
some object enough. One of the samplers that succeeded is picked, all with equal probability. All
trials run at once, for the whole batch.
Source: Caffe's SSD branch, `sampler.cpp` and `ssd_pascal.py`.

Letters: `B` images, `G` ground-truth boxes, padded, `S` the samplers that try, `T` trials of
each, `K` all seven samplers, `N` random numbers of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ssd.geometry.boxes import area

# The last one is Caffe's max_jaccard 1: any window will do, as long as there is an object.
MIN_OVERLAPS = 0.1, 0.3, 0.5, 0.7, 0.9, 0.0
TRIALS = 50
ASPECT_RATIOS = 0.5, 2.0
CROP_DRAWS = 1 + len(MIN_OVERLAPS) * TRIALS * 4


def draw_crop(
    canvas_B4: Tensor, boxes_BG4: Tensor, labels_BG: Tensor, draws_BN: Tensor, min_scale: float
) -> tuple[Tensor, Tensor]:
    """The sampler [B] (0: whole canvas; s: `MIN_OVERLAPS[s - 1]`) and its window [B, 4].

    Args:
        canvas_B4: the area to crop from, in whole pixels, float32.
        boxes_BG4: the objects, in the same pixel coordinates.
        labels_BG: 0 where padded.
        draws_BN: `CROP_DRAWS` uniform random numbers for each image.
        min_scale: side of the smallest window relative to the canvas, before its aspect ratio.
    """
    draws_BST4 = draws_BN[:, 1:].reshape(len(draws_BN), len(MIN_OVERLAPS), TRIALS, 4)
    trials_BST4 = _trials(canvas_B4, draws_BST4, min_scale)
    success_BST = _successes(trials_BST4, boxes_BG4, labels_BG)
    return _pick(canvas_B4, trials_BST4, success_BST, draws_BN[:, :1])


def _trials(canvas_B4: Tensor, draws_BST4: Tensor, min_scale: float) -> Tensor:
    """Random windows [B, S, T, 4] of the canvas, in whole pixels as they will be cut.

    Scale and aspect ratio are drawn relative to the canvas (Caffe's `SampleBBox`); the limits on
    the aspect ratio keep every side within the canvas.
    """
    scale_BST = min_scale + (1 - min_scale) * draws_BST4[..., 0]
    square_BST = scale_BST * scale_BST
    low_BST = square_BST.clamp(min=ASPECT_RATIOS[0])
    high_BST = (1 / square_BST).clamp(max=ASPECT_RATIOS[1])
    root_BST = (low_BST + (high_BST - low_BST) * draws_BST4[..., 1]).sqrt()
    sides_BST2 = torch.stack([scale_BST * root_BST, scale_BST / root_BST], -1).clamp(max=1)

    origin_B112 = canvas_B4[:, None, None, :2]
    canvas_B112 = canvas_B4[:, None, None, 2:] - origin_B112
    corner_BST2 = (draws_BST4[..., 2:] * (1 - sides_BST2) * canvas_B112).floor() + origin_B112
    extent_BST2 = (sides_BST2 * canvas_B112).floor().clamp(min=1)
    return torch.cat([corner_BST2, corner_BST2 + extent_BST2], -1)


def _successes(trials_BST4: Tensor, boxes_BG4: Tensor, labels_BG: Tensor) -> Tensor:
    """Mask [B, S, T] of the trials that overlap some object as much as their sampler demands."""
    x1, y1, x2, y2 = trials_BST4[..., None, :].unbind(-1)
    boxes_B11G4 = boxes_BG4[:, None, None]
    box_x1, box_y1, box_x2, box_y2 = boxes_B11G4.unbind(-1)
    inter_BSTG = torch.minimum(x2, box_x2).sub_(torch.maximum(x1, box_x1)).clamp_(min=0)
    inter_BSTG *= torch.minimum(y2, box_y2).sub_(torch.maximum(y1, box_y1)).clamp_(min=0)
    union_BSTG = (area(trials_BST4)[..., None] + area(boxes_B11G4)).sub_(inter_BSTG)
    iou_BSTG = inter_BSTG.div_(union_BSTG)  # a window's area is at least 1

    enough = [iou_BSTG[:, s] >= overlap for s, overlap in enumerate(MIN_OVERLAPS)]
    is_object_BG = labels_BG > 0
    return (torch.stack(enough, 1) & is_object_BG[:, None, None]).any(-1)


def _pick(
    canvas_B4: Tensor, trials_BST4: Tensor, success_BST: Tensor, draws_B1: Tensor
) -> tuple[Tensor, Tensor]:
    """The sampler [B] and its window [B, 4]: one of the samplers that succeeded.

    Each sampler offers its first successful window. The whole canvas (sampler 0) always succeeds.
    """
    first_BS11 = success_BST.byte().argmax(-1)[..., None, None]
    chosen_BS4 = trials_BST4.take_along_dim(first_BS11, 2).squeeze(2)
    windows_BK4 = torch.cat([canvas_B4[:, None], chosen_BS4], 1)
    canvas_B1 = torch.ones_like(success_BST[:, :1, 0])
    found_BK = torch.cat([canvas_B1, success_BST.any(-1)], 1)

    nth_B1 = (draws_B1 * found_BK.sum(1, keepdim=True)).floor()
    sampler_B = (found_BK & (found_BK.cumsum(1) - 1 == nth_B1)).byte().argmax(1)
    return sampler_B, windows_BK4.take_along_dim(sampler_B[:, None, None], 1).squeeze(1)
