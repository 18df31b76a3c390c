"""Predictions → scores and boxes: the rules from which both ways of postprocessing start.

Letters: `B` images, `P` default boxes, `C` classes with the background.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ssd.geometry.boxes import decode
from ssd.structures import Predictions


def class_scores(predictions: Predictions) -> Tensor:
    """Softmax probabilities [B, P, C], float32; 0 where a logit is not finite."""
    return predictions.logits.softmax(-1, dtype=torch.float32).nan_to_num_(nan=0.0)


def clipped_boxes(locations: Tensor, default_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes [..., 4] clipped to the image, and a mask [...] of those that are finite.

    Locations [..., 4] are of any floating type; there is a default box for each, in centre form.
    """
    boxes = decode(locations.float(), default_boxes)
    return boxes.clamp(0, 1), boxes.isfinite().all(-1)
