"""Detections that rounding alone exchanges.

Non-maximum suppression takes the best candidate, drops those that overlap it, and goes on. Where
two candidates are equal but for rounding, either may be first, and each drops others. A network
that has hardly been trained has thousands of such candidates.

Letters: `P` default boxes, `C` classes with the background, `D` detections of an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ssd.config import EvaluationConfig
from ssd.deploy.runtime import Objects
from ssd.geometry.boxes import pairwise_iou

# Differences up to these are taken for rounding.
SCORE_BOUND = 1e-4
BOX_BOUND = 0.05  # pixels of the image
IOU_BOUND = 0.01  # from the limit of the suppression

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """The model's candidates in an image, before suppression.

    Attributes:
        boxes: [P, 4] float32, xyxy, pixels of the image.
        scores: [P, C] float32.
        config: of the suppression.
    """

    boxes: Floats
    scores: Floats
    config: EvaluationConfig

    def may_miss(self, objects: Objects, found: Objects) -> Mask:
        """The detections [D] of the model that a file may leave out which finds the others.

        They are at the threshold, are none of the best candidates of their class, have no place
        among the detections of an image, or overlap one of their class that is as good.
        """
        least = np.full(len(objects.scores), self.config.score_threshold, np.float32)
        if len(self.scores) > self.config.top_k:
            last_C = np.sort(self.scores, axis=0)[-self.config.top_k]
            least = np.maximum(least, last_C[objects.labels])
        if len(found.scores) >= self.config.max_detections:
            least = np.maximum(least, found.scores.min())
        not_worse = found.scores >= objects.scores[:, None] - SCORE_BOUND
        overlap = overlaps(objects, found) >= self.config.nms_iou - IOU_BOUND
        return np.asarray((objects.scores <= least + SCORE_BOUND) | (overlap & not_worse).any(1))

    def may_add(self, objects: Objects, found: Objects) -> Mask:
        """The detections [D] of a file that may be among all that it finds.

        They are candidates of the model, and overlap no other one of their class.
        """
        corners = np.abs(objects.boxes[:, None] - self.boxes).max(2, initial=0)
        scores = np.abs(objects.scores[:, None] - self.scores.T[objects.labels])
        is_candidate = ((corners <= BOX_BOUND) & (scores <= SCORE_BOUND)).any(1)
        overlap = overlaps(objects, found) > self.config.nms_iou + IOU_BOUND
        return np.asarray(is_candidate & (overlap.sum(1) <= 1))  # each overlaps itself


def overlaps(objects: Objects, others: Objects) -> Floats:
    """Intersection over union of objects of the same class; 0 for others."""
    boxes, them = torch.from_numpy(objects.boxes), torch.from_numpy(others.boxes)
    overlap: Floats = pairwise_iou(boxes[None], them)[0].numpy()
    overlap[objects.labels[:, None] != others.labels] = 0
    return overlap


def without(objects: Objects, places: list[int]) -> Objects:
    """The objects without those at `places`."""
    kept = np.delete(np.arange(len(objects.scores)), places)
    return Objects(objects.boxes[kept], objects.scores[kept], objects.labels[kept])
