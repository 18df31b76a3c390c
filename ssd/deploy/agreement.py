"""The objects that a file in float16 or int8 finds, beside those of the model in float32.

Their scores and boxes cannot be equal, so those that a user would see are compared: whether the
file finds the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ssd.common.words import counted
from ssd.deploy.runtime import ExportedDetector, Objects
from ssd.deploy.smaller import Numbers
from ssd.detect.detector import Detector
from ssd.detect.few_packages import Pixels
from ssd.geometry.boxes import pairwise_iou
from ssd.report.pictures import SHOWN_SCORE

SAME_IOU = 0.5
# Share of the objects that may be found by one of the two alone: more is a defect, not a loss.
LOST_BOUND: dict[Numbers, float] = {"float16": 0.05, "int8": 0.5}


@dataclass(frozen=True)
class Agreement:
    """The difference between the objects of an exported file and those of the model, over images.

    Attributes:
        numbers: those that the file computes with.
        images: their number.
        objects: found by the model or by the file with a score of at least `SHOWN_SCORE`, counted
            for each of the two.
        alone: of these, found by one of the two and not by the other.
        scores: the mean difference between the scores of an object that both find.
        boxes: the mean difference of its corners, in pixels of the image.
    """

    numbers: Numbers
    images: int
    objects: int
    alone: int
    scores: float
    boxes: float

    @property
    def is_small(self) -> bool:
        """True within the bounds; two objects may always differ, at a threshold."""
        return self.alone <= max(2, LOST_BOUND[self.numbers] * self.objects)

    @property
    def allowed(self) -> str:
        """The bounds."""
        return f"at most {LOST_BOUND[self.numbers]:.0%} of the objects may be found by one alone"

    def __str__(self) -> str:
        """The figures in a line."""
        if not self.objects:
            return f"neither finds an object of score {SHOWN_SCORE:g} or more"
        return (
            f"of {counted(self.objects, 'object')} of score {SHOWN_SCORE:g} or more that the two "
            f"find, {self.alone} are found by one alone; the others differ by {self.scores:.1g} in "
            f"score and {self.boxes:.1g} pixels on average"
        )


def compare_objects(
    detector: Detector, file: ExportedDetector, images: Sequence[Pixels], numbers: Numbers
) -> Agreement:
    """The differences between the objects of the model and those of a file.

    Raises:
        UserError: the file gives what is not finite, or is no detection.
    """
    total, scores, corners = 0, [], []
    for pixels in images:
        model, exported = (
            Objects(found.boxes, found.scores, found.labels)
            for each in (detector, file)
            for found in each.results([("", pixels)], SHOWN_SCORE)
        )
        total += len(model.scores) + len(exported.scores)
        for one, other in same_objects(model, exported):
            scores.append(abs(model.scores[one] - exported.scores[other]))
            corners.append(np.abs(model.boxes[one] - exported.boxes[other]).mean())
    mean = (float(np.mean(values)) if values else 0.0 for values in (scores, corners))
    return Agreement(numbers, len(images), total, total - 2 * len(scores), *mean)


def same_objects(model: Objects, exported: Objects) -> list[tuple[int, int]]:
    """The places of the same object in both: the best score first takes what it overlaps most."""
    overlap = pairwise_iou(torch.from_numpy(model.boxes)[None], torch.from_numpy(exported.boxes))[
        0
    ].numpy()
    overlap[model.labels[:, None] != exported.labels[None]] = 0
    pairs = []
    for one, row in enumerate(overlap):
        if row.max(initial=0) >= SAME_IOU:
            other = int(row.argmax())
            pairs.append((one, other))
            overlap[:, other] = 0
    return pairs
