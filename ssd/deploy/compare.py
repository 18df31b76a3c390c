"""What an exported file finds in images, beside what the model itself finds in them.

Letters: `P` default boxes, `C` classes with the background, `D` detections of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ssd.data.dataset import pack
from ssd.deploy.runtime import Objects
from ssd.deploy.ties import BOX_BOUND, SCORE_BOUND, Candidates, without
from ssd.detect.candidates import class_scores, clipped_boxes
from ssd.detect.detector import NO_OBJECTS, Detector
from ssd.detect.few_packages import Pixels
from ssd.structures import PackedSamples, Sample

CHANGED_BOUND = 0.01  # share of the detections; one may always change, at a threshold
SAME_BOX = 2 * BOX_BOUND  # detections of one class that are nearer are taken for the same

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """How an exported file differs from the model, over some images.

    Attributes:
        images: their number.
        scores: the largest difference of a score.
        boxes: the largest difference of a corner, in pixels of the image.
        detections: found by the model; None where scores and boxes of default boxes are compared.
        changed: found by one of the two and not by the other.
        by_rounding: of these, those that rounding alone explains.
    """

    images: int
    scores: float
    boxes: float
    detections: int | None
    changed: int
    by_rounding: int = 0

    @property
    def is_small(self) -> bool:
        """True within the bounds; differences that are not numbers are not."""
        unexplained = self.changed - self.by_rounding
        few = unexplained <= max(1, CHANGED_BOUND * (self.detections or 0))
        return self.scores <= SCORE_BOUND and self.boxes <= BOX_BOUND and few

    @property
    def allowed(self) -> str:
        """The bounds."""
        return f"at most {SCORE_BOUND:g}, {BOX_BOUND:g} pixels and {CHANGED_BOUND:.0%} are allowed"

    def __str__(self) -> str:
        """The figures in a line."""
        text = f"scores differ by at most {self.scores:.1g}, boxes by {self.boxes:.1g} pixels"
        if self.detections is None:
            return text
        text = f"{text}; {self.changed} of {self.detections} detections changed"
        ties = f", {self.by_rounding} of them at scores that are equal but for rounding"
        return text + ties * bool(self.by_rounding)


def compare_detections(
    detector: Detector, run: Callable[[Pixels], Objects], images: Sequence[Pixels]
) -> Difference:
    """The differences between the detections of the model and those of `run`."""
    scores, boxes, detections, changed, by_rounding = [0.0], [0.0], 0, 0, 0
    for pixels in images:
        (expected,) = detector.results([("", pixels)], min_score=0)
        wanted = Objects(expected.boxes, expected.scores, expected.labels)
        found = run(pixels)
        pairs = same_objects(wanted, found)
        for one, other in pairs:
            scores.append(float(abs(wanted.scores[one] - found.scores[other])))
            boxes.append(float(abs(wanted.boxes[one] - found.boxes[other]).max()))
        detections += len(wanted.scores)
        left = without(wanted, [one for one, _ in pairs])
        new = without(found, [other for _, other in pairs])
        if len(left.scores) + len(new.scores):
            candidates = candidates_of(detector, pixels)
            changed += len(left.scores) + len(new.scores)
            by_rounding += int(candidates.may_miss(left, found).sum())
            by_rounding += int(candidates.may_add(new, found).sum())
    largest = float(np.max(scores)), float(np.max(boxes))
    return Difference(len(images), *largest, detections, changed, by_rounding)


def candidates_of(detector: Detector, pixels: Pixels) -> Candidates:
    """The model's candidates in an image, before suppression."""
    (boxes,), (scores,) = raw(detector, pixels, in_pixels=True)
    return Candidates(boxes, scores, detector.config)


def same_objects(wanted: Objects, found: Objects) -> list[tuple[int, int]]:
    """The places of detections of the same class whose boxes are nearest, each in one pair."""
    distances = np.abs(wanted.boxes[:, None] - found.boxes[None]).max(2, initial=0)
    distances[wanted.labels[:, None] != found.labels[None]] = np.inf
    near = np.argwhere(distances <= SAME_BOX)
    pairs: dict[int, int] = {}
    taken = set[int]()
    for one, other in near[np.argsort(distances[tuple(near.T)], kind="stable")].tolist():
        if one not in pairs and other not in taken:
            pairs[one] = other
            taken.add(other)
    return list(pairs.items())


def compare_raw(
    detector: Detector,
    run: Callable[[Pixels], Sequence[Array]],
    images: Sequence[Pixels],
    in_pixels: bool,
) -> Difference:
    """The differences between the model's scores and boxes and those of `run`.

    Args:
        detector: the model.
        run: gives boxes [1, P, 4] and scores [1, P, C] of an image.
        images: [H, W, 3], RGB.
        in_pixels: whether boxes are in pixels of the image, rather than of the network's input.
    """
    scores, boxes = [0.0], [0.0]
    for pixels in images:
        found = run(pixels)
        wanted = raw(detector, pixels, in_pixels)
        for largest, one, other in zip((boxes, scores), found, wanted, strict=True):
            largest.append(float(np.abs(one - other).max()))
    return Difference(len(images), float(np.max(scores)), float(np.max(boxes)), None, 0)


@torch.no_grad()
def raw(detector: Detector, pixels: Pixels, in_pixels: bool) -> tuple[Array, Array]:
    """The model's boxes [1, P, 4], of the image or of the input, and its scores [1, P, C]."""
    images = detector.preprocess.evaluation_batch(packed(pixels)).images
    predictions = detector.model(images)
    boxes_BP4, finite_BP = clipped_boxes(predictions.locations, detector.model.default_boxes)
    height, width = pixels.shape[:2] if in_pixels else images.shape[2:]
    sides_4 = torch.tensor([width, height, width, height])
    boxes_BP4 = (boxes_BP4 * sides_4).where(finite_BP[..., None], 0)
    return boxes_BP4.numpy(), class_scores(predictions).numpy()


def packed(pixels: Pixels) -> PackedSamples:
    """One image as the model's preprocessing takes it."""
    return pack([Sample("", 0, 0, pixels, *NO_OBJECTS)])
