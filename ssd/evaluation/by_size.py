"""Results by the size of the objects: COCO's three ranges of area, under VOC's metrics too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ssd.config import Metric
from ssd.evaluation.mistakes import (
    DUPLICATE,
    RIGHT,
    UNCOUNTED,
    Bools,
    Floats,
    JudgedDetections,
    areas_of,
)
from ssd.evaluation.tally import average_precision

# Areas in pixels of the original image, from the first to below the second.
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}


@dataclass(frozen=True)
class SizeResult:
    """How objects of one range of sizes are found.

    Attributes:
        AP: mean over the classes with objects of this size, 0 … 1; NaN if there are none.
        objects: those that count.
        found: those that a detection of at least the chosen score finds.
    """

    AP: float
    objects: int
    found: int


def results_by_size(
    judged: JudgedDetections, score: float, metric: Metric, coco: Mapping[str, float] | None
) -> dict[str, SizeResult]:
    """The results for small, medium and large objects.

    Args:
        judged: the detections and objects.
        score: the lowest score of a detection that finds an object.
        metric: the metric of the AP.
        coco: COCO's figures, whose APs, APm and APl are taken under that metric. They go by the
            area of an object's outline, where the data has one.
    """
    areas_N, counted_N, found_N = judged.objects.areas, judged.objects.counted, judged.found(score)
    results = {}
    for name, (low, high) in SIZES.items():
        in_range_N = counted_N & (areas_N >= low) & (areas_N < high)
        if coco is None:
            AP = ap_in_range(judged, in_range_N, low, high, metric)
        else:
            AP = coco[f"AP{name[0]}"]
        found = int((in_range_N & found_N).sum())
        results[name] = SizeResult(AP, int(in_range_N.sum()), found)
    return results


def ap_in_range(
    judged: JudgedDetections, in_range_N: Bools, low: float, high: float, metric: Metric
) -> float:
    """Mean AP for the objects of a range of areas, by COCO's rules under a metric of VOC.

    Objects of other sizes are neither counted nor penalised: detections on them do not count, and
    neither does a detection that is on no object and is itself of another size.
    """
    kinds_D, areas_D = judged.kinds, areas_of(judged.table.boxes)
    on_object_D = (kinds_D == RIGHT) | (kinds_D == DUPLICATE)
    kept_D = (areas_D >= low) & (areas_D < high) & (kinds_D != UNCOUNTED)
    kept_D[on_object_D] = in_range_N[judged.object_of[on_object_D]]
    rows = np.flatnonzero(kept_D)
    rows = rows[np.argsort(-judged.table.scores[rows], kind="stable")]
    labels, right = judged.table.labels[rows], kinds_D[rows] == RIGHT
    values: list[float] = []
    for label in np.unique(judged.objects.labels[in_range_N]).tolist():
        objects = int(((judged.objects.labels == label) & in_range_N).sum())
        hits: Floats = np.cumsum(right[labels == label], dtype=np.float64)
        precision = hits / np.arange(1, len(hits) + 1)
        values.append(average_precision(hits / objects, precision, metric))
    return float(np.mean(values)) if values else np.nan
