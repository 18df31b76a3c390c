"""Postprocessing with fixed shapes: no wait of the host, and fit for a CUDA graph.

The best `top_k` of every class take part, whatever their scores, so that every shape follows from
the settings. `ssd.detect.postprocess` has the rules and the other way, which finds the same.

A key stands for a pair of a default box and a class. Its upper 32 bits are the bits of the score,
which rise with it since it is not negative. Its lower 32 bits are M - 1 - pair, where
pair = box · C + class. So no two keys are equal, and the larger key is that of the higher score,
or of the first of equal scores. 0 stands for no pair, because candidates have positive scores.

Letters: `B` images, `P` default boxes, `C` classes, `L` = C - 1 classes without the background,
`M` = P · C < 2³¹ pairs, `K` candidates of a class, `D` detections of an image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ssd.config import EvaluationConfig
from ssd.detect.candidates import class_scores, clipped_boxes
from ssd.structures import Detections, Predictions

HALF = 1 << 32


@torch.no_grad()
def padded_detections(
    predictions: Predictions, default_boxes_P4: Tensor, config: EvaluationConfig
) -> Tensor:
    """The detections of `ssd.detect.postprocess.postprocess` as one tensor, for one copy.

    Predictions are on a CUDA device with a C compiler for Triton (on the CPU under Triton's
    interpreter). D is `max_detections`, or the number of pairs that `top_k` leaves if smaller.

    Returns:
        [B, D, 6] float32, best first: x1, y1, x2, y2, score, label; 0 where padded.
    """
    from ssd.detect import kernel  # Triton comes with PyTorch for GPUs only

    scores_BPC = class_scores(predictions)
    boxes_BP4, finite_BP = clipped_boxes(predictions.locations, default_boxes_P4)
    candidates = min(config.top_k, len(default_boxes_P4))
    keys_BLK = pair_keys(scores_BPC).topk(candidates).values
    wanted = min(config.max_detections, candidates)
    threshold = int(np.float32(config.score_threshold).view(np.int32))
    lowest_key = (threshold + 1) * HALF
    kept_BLD = kernel.suppress(keys_BLK, boxes_BP4, finite_BP, lowest_key, config.nms_iou, wanted)
    kept_BM = kept_BLD.flatten(1)
    keys_BD = kept_BM.topk(min(config.max_detections, kept_BM.shape[1])).values
    return rows(keys_BD, boxes_BP4, scores_BPC.shape[-1])


def pair_keys(scores_BPC: Tensor) -> Tensor:
    """The keys [B, L, P], int64, of all pairs but those with the background."""
    images, boxes, classes = scores_BPC.shape
    falling_M = torch.arange(boxes * classes - 1, -1, -1, device=scores_BPC.device)
    falling_LP = falling_M.view(boxes, classes)[:, 1:].t()
    bits_BLP = scores_BPC.view(torch.int32)[..., 1:].transpose(1, 2)
    keys_BLP = falling_LP.new_empty(bits_BLP.shape)
    return torch.add(falling_LP, bits_BLP, alpha=HALF, out=keys_BLP)


def rows(keys_BD: Tensor, boxes_BP4: Tensor, classes: int) -> Tensor:
    """The rows [B, D, 6] of the result for the keys of the detections; 0 for a key of 0."""
    pair_BD = boxes_BP4.shape[1] * classes - 1 - keys_BD % HALF
    where_BD4 = (pair_BD // classes)[..., None].expand(-1, -1, 4)
    scores_BD = (keys_BD // HALF).int().view(torch.float32)
    labels_BD = (pair_BD % classes).float()
    rows_BD6 = torch.cat(
        [boxes_BP4.gather(1, where_BD4), scores_BD[..., None], labels_BD[..., None]], -1
    )
    return rows_BD6.masked_fill_(keys_BD[..., None] == 0, 0)


def unpad(rows_BD6: Tensor) -> list[Detections]:
    """The detections of each image from the result of `padded_detections`, moved to the CPU."""
    counts = (rows_BD6[..., 4] > 0).sum(1).tolist()
    found = [rows[:count] for rows, count in zip(rows_BD6, counts, strict=True)]
    return [
        Detections(rows[:, :4].contiguous(), rows[:, 4].contiguous(), rows[:, 5].long())
        for rows in found
    ]
