"""What an evaluation found, as a file and as a table."""

from __future__ import annotations

import json
import math
from pathlib import Path

from ssd.config import Metric
from ssd.evaluation.voc import VocResult
from ssd.files import write_whole


def write_evaluation(path: Path, result: VocResult, metric: Metric) -> None:
    """Writes evaluation.json; a NaN becomes null. The file appears whole or not at all."""
    content = {
        "metric": metric,
        "mAP": _null_if_nan(result.mAP),
        "per_class": {name: _null_if_nan(ap) for name, ap in result.per_class.items()},
        "num_images": result.num_images,
        "num_detections": result.num_detections,
        "num_ground_truth": result.num_ground_truth,
    }
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def class_table(result: VocResult) -> str:
    """A table for the terminal: name, ground truth, detections and AP of every class."""
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
    widths = [max(map(len, column)) for column in zip(header, *rows, total, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    lines = [
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])])
        for cells in (header, *rows, total)
    ]
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _null_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _ap(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
