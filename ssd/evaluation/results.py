"""What an evaluation found: as a type, as a file, and as a table."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssd.config import Metric
from ssd.files import write_whole
from ssd.text_table import text_table

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EvaluationResult:
    """How good detections are; every dict but `coco` has one entry for each class, by name.

    | field | meaning |
    |---|---|
    | mAP | mean of the classes' AP, without those that are NaN; NaN where all are |
    | per_class | AP, 0 … 1; NaN for a class without an object that counts |
    | curves | (recall, precision, scores) at one overlap, each [points], recall rising |
    | num_ground_truth | objects that count: neither difficult nor a crowd |
    | detections_per_class | detections, those that do not count included |
    | num_images, num_detections | all of them |
    | coco | COCO's twelve figures by name, 0 … 1 or NaN; None under VOC's metrics |
    """

    mAP: float  # noqa: N815 - the field's standard name
    per_class: dict[str, float]
    curves: dict[str, tuple[Floats, Floats, Floats]]
    num_ground_truth: dict[str, int]
    detections_per_class: dict[str, int]
    num_images: int
    num_detections: int
    coco: dict[str, float] | None = None


def write_evaluation(path: Path, result: EvaluationResult, metric: Metric) -> None:
    """Writes evaluation.json; a NaN becomes null. The file appears whole or not at all."""
    content = {
        "metric": metric,
        "mAP": _null_if_nan(result.mAP),
        "per_class": _nulls_for_nans(result.per_class),
        "num_images": result.num_images,
        "num_detections": result.num_detections,
        "num_ground_truth": result.num_ground_truth,
    }
    if result.coco is not None:
        content["coco"] = _nulls_for_nans(result.coco)
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def result_table(result: EvaluationResult) -> str:
    """A table for the terminal: ground truth, detections and AP of every class, then COCO's."""
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


def _nulls_for_nans(values: dict[str, float]) -> dict[str, float | None]:
    return {name: _null_if_nan(value) for name, value in values.items()}


def _null_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _ap(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
