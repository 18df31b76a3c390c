"""The bootstrap over images, and over runs with other seeds: intervals of a score.

A resample draws as many images as there are, with replacement, and as many runs of each group. All
runs are judged on the same drawn images, so what makes some images harder than others cancels in
the difference of two groups (a paired bootstrap). Source: Efron and Tibshirani, An Introduction to
the Bootstrap, 1993, chapters 6 and 13: percentile intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssd.config import Metric
from ssd.evaluation.coco import tally_coco
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.result import Floats
from ssd.evaluation.tally import Tally, average_precision, curve_of, mean_of
from ssd.evaluation.voc import tally_voc
from ssd.structures import DataSet

RESAMPLES = 1000
PERCENT = (2.5, 97.5)
MEAN = "mAP"

ByClass = Mapping[str, Sequence[Tally]]


@dataclass(frozen=True)
class Interval:
    """A score, 0 … 1, or a difference of two, and its interval of 95 %."""

    value: float
    low: float
    high: float

    @property
    def is_apart(self) -> bool:
        """True if the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def tallies_of(
    data: DataSet, detections: DetectionTable, metric: Metric, iou_threshold: float | None
) -> dict[str, list[Tally]]:
    """The judged detections of a run by class: one tally, or for `coco` one for each overlap."""
    if metric == "coco":
        return dict(zip(data.classes, tally_coco(data, detections), strict=True))
    overlap = 0.5 if iou_threshold is None else iou_threshold
    tallies = tally_voc(data.records, detections, data.classes, overlap)
    return {name: [tally] for name, tally in zip(data.classes, tallies, strict=True)}


def scores_of(by_class: ByClass, metric: Metric, weights_I: Floats | None = None) -> Floats:
    """The mAP and the AP of each class [1 + C], with each image as often as its weight says."""
    each = []
    for tallies in by_class.values():
        at_overlaps = [average_precision(*curve_of(tally, weights_I), metric) for tally in tallies]
        counts = tallies[0].objects if weights_I is None else tallies[0].objects * weights_I
        each.append(float(np.mean(at_overlaps)) if counts.any() else np.nan)
    return np.array([mean_of(each), *each])


def differences(
    groups: tuple[Sequence[ByClass], Sequence[ByClass]],
    metric: Metric,
    resamples: int = RESAMPLES,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, tuple[Interval, Interval, Interval]]:
    """The scores of two groups of runs and how much higher those of the first are.

    Args:
        groups: the runs of each, judged on the same images; a group holds the same training with
            other seeds.
        metric: of the average precision.
        resamples: drawn images and runs; they are the same in each call.
        advance: called after each.

    Returns:
        For the mAP and each class: the first group, the second, and their difference.
    """
    num_images = len(next(iter(groups[0][0].values()))[0].objects)
    draw = np.random.default_rng(0)
    whole = [np.mean([scores_of(run, metric) for run in group], 0) for group in groups]
    drawn: list[list[Floats]] = [[], []]
    for _ in range(resamples):
        images = draw.integers(num_images, size=num_images)
        weights_I = np.bincount(images, minlength=num_images).astype(np.float64)
        for scores, group in zip(drawn, groups, strict=True):
            each = np.array([scores_of(run, metric, weights_I) for run in group])
            scores.append(each[draw.integers(len(group), size=len(group))].mean(0))
        advance()
    names = (MEAN, *groups[0][0])
    first, second = (np.array(scores) for scores in drawn)
    columns = zip(whole, (first, second), strict=True)
    parts = [*columns, (whole[0] - whole[1], first - second)]
    return {
        name: tuple(interval(value[place], several[:, place]) for value, several in parts)  # type: ignore[misc]
        for place, name in enumerate(names)
    }


def interval(value: float, drawn: npt.NDArray[np.float64]) -> Interval:
    """The interval of 95 % of what was drawn, without the resamples in which no object counts."""
    kept = drawn[~np.isnan(drawn)]
    low, high = np.percentile(kept, PERCENT).tolist() if len(kept) else (np.nan, np.nan)
    return Interval(float(value), low, high)
