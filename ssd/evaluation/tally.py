"""Detections that have been judged, and the average precision of them.

A tally keeps the image of everything it counts. So the figures of a data set in which some images
occur several times and others not at all follow from it, by the weights of the images. That is
exact, but for the order of equal scores: of n copies of a detection, the envelope of the curve sees
the last alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssd.config import Metric
from ssd.evaluation.result import Floats

COCO_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Tally:
    """The detections of one class that count, best first, at one overlap; and its objects.

    | field | shape | dtype | meaning |
    |---|---|---|---|
    | images | [D] | int64 | position of the image of each detection |
    | positive | [D] | bool | true positives |
    | scores | [D] | float64 | |
    | objects | [I] | int64 | objects that count, in each image |
    """

    images: npt.NDArray[np.int64]
    positive: npt.NDArray[np.bool_]
    scores: Floats
    objects: npt.NDArray[np.int64]


def curve_of(tally: Tally, weights_I: Floats | None = None) -> tuple[Floats, Floats]:
    """Recall and precision [D] after each detection; recall is NaN if no object counts.

    Args:
        tally: of one class.
        weights_I: how often each image occurs; by default once.
    """
    weights_I = np.ones(len(tally.objects)) if weights_I is None else weights_I
    weights_D = weights_I[tally.images]
    true_positives = np.cumsum(weights_D * tally.positive)
    counted = np.cumsum(weights_D)
    precision = np.divide(true_positives, counted, out=np.zeros_like(counted), where=counted > 0)
    return true_positives / (tally.objects @ weights_I or np.nan), precision


def average_precision(recall: Floats, precision: Floats, metric: Metric) -> float:
    """AP, 0 … 1, of recall and precision [D] after each detection, best first.

    `voc07`: mean of the best precision at recalls of at least 0, 0.1, … 1 (0 if a recall is never
    reached). `voc_area`: area under the best precision at each recall or a higher one. `coco`: mean
    of the best precision at 101 recalls.
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    match metric:
        case "voc_area":
            return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
        case "voc07":
            reached = np.searchsorted(recall, np.arange(11) * 0.1)
        case "coco":
            reached = np.searchsorted(recall, COCO_RECALLS)
    return float(np.append(envelope, 0.0)[reached].mean())


def mean_of(values: Iterable[float]) -> float:
    """The mean without NaN; NaN if there is nothing else."""
    kept = [value for value in values if not np.isnan(value)]
    return sum(kept) / len(kept) if kept else np.nan
