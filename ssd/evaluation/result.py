"""The result of an evaluation, as a type and as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssd.common.text_table import text_table

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EvaluationResult:
    """The figures of an evaluation; every dict except `coco` has one entry per class, by name.

    | field | meaning |
    |---|---|
    | mAP | mean of the classes' AP, leaving out NaN; NaN if all are |
    | per_class | AP, 0 … 1; NaN for a class without an object that counts |
    | curves | (recall, precision, scores) at one overlap, each [points], recall rising |
    | num_ground_truth | objects that count: neither difficult nor a crowd |
    | detections_per_class | detections, including those that do not count |
    | num_images, num_detections | all of them |
    | coco | COCO's twelve figures by name, 0 … 1 or NaN; None under VOC's metrics |
    | images_left_out | images that could not be read; nothing above counts them |
    """

    mAP: float  # noqa: N815 - the field's standard name
    per_class: dict[str, float]
    curves: dict[str, tuple[Floats, Floats, Floats]]
    num_ground_truth: dict[str, int]
    detections_per_class: dict[str, int]
    num_images: int
    num_detections: int
    coco: dict[str, float] | None = None
    images_left_out: int = 0


def result_table(result: EvaluationResult) -> str:
    """The terminal's table: ground truth, detections and AP per class, then COCO's figures."""
    header = ("class", "ground truth", "detections", "AP")
    rows = [
        (
            name,
            f"{result.num_ground_truth[name]:,}",
            f"{result.detections_per_class[name]:,}",
            _ap(ap),
        )
        for name, ap in result.per_class.items()
    ]
    counted = sum(result.num_ground_truth.values())
    total = ("mean", f"{counted:,}", f"{result.num_detections:,}", _ap(result.mAP))
    figures = [f"{name} {_ap(value)}" for name, value in (result.coco or {}).items()]
    below = ["", "  ".join(figures[:6]), "  ".join(figures[6:])] if figures else []
    return "\n".join([text_table(header, rows, total), *below])


def _ap(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
