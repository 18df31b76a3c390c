"""Writes the results of an evaluation: detections.json and evaluation.json."""

from __future__ import annotations

import json
import math
from pathlib import Path

from ssd.common.files import write_whole
from ssd.config import Metric
from ssd.evaluation.detections import DetectionTable, write_detections
from ssd.evaluation.result import EvaluationResult
from ssd.run.names import DETECTIONS, EVALUATION
from ssd.structures import DataSet


def write_results(
    folder: Path, data: DataSet, table: DetectionTable, result: EvaluationResult, metric: Metric
) -> None:
    """Writes both files; creates the folder if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    names = data.image_ids, data.classes, data.category_ids
    write_detections(folder / DETECTIONS, table, *names)
    write_evaluation(folder / EVALUATION, result, metric)


def write_evaluation(path: Path, result: EvaluationResult, metric: Metric) -> None:
    """Writes evaluation.json, complete or not at all; a NaN becomes null."""
    content = {
        "metric": metric,
        "mAP": _null_if_nan(result.mAP),
        "per_class": _nulls_for_nans(result.per_class),
        "num_images": result.num_images,
        "images_left_out": result.images_left_out,
        "num_detections": result.num_detections,
        "num_ground_truth": result.num_ground_truth,
    }
    if result.coco is not None:
        content["coco"] = _nulls_for_nans(result.coco)
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _nulls_for_nans(values: dict[str, float]) -> dict[str, float | None]:
    return {name: _null_if_nan(value) for name, value in values.items()}


def _null_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
