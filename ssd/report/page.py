"""Writes the report.html of a run folder, which needs no network, no script and no other file."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssd.common.errors import UserError
from ssd.report import plots
from ssd.report.pictures import Picture, draw, encode_jpeg, fit
from ssd.report.render import TEMPLATES, count, is_number, percent, write_page
from ssd.run import names
from ssd.run.rows import only, read_rows
from ssd.steps import EvaluationRow, StepRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_SIDE = 640
LAST_STEPS = 100
METRIC_NAMES = {
    "voc07": "VOC 2007, 11 points",
    "voc_area": "VOC, area under the curve",
    "coco": "COCO, overlaps 0.50 to 0.95",
}


def write_report(
    run_dir: Path,
    spikes: str = "",
    curves: Mapping[str, plots.Curve] | None = None,
    pictures: Sequence[Picture] = (),
) -> Path:
    """Writes `report.html` into a run folder and returns its path.

    If the folder lacks metrics.jsonl, evaluation.json, config.yaml or environment.json, the page
    leaves that part out and says so. The file appears whole or not at all.

    Args:
        run_dir: the run folder.
        spikes: the text about regular spikes of the loss.
        curves: precision and recall of each class, by name.
        pictures: evaluated images with predictions and ground truth.

    Raises:
        UserError: a JSON file of the folder is broken.
    """
    rows = read_rows(run_dir / names.METRICS)
    train, evaluations = only(StepRow, rows), only(EvaluationRow, rows)
    evaluation = _read_object(run_dir / names.EVALUATION)
    config = run_dir / names.CONFIG
    return write_page(
        run_dir / names.REPORT,
        TEMPLATES / "page.html",
        _figures(train, evaluations, curves or {}),
        name=run_dir.resolve().name,
        headline=_headline(train, evaluation),
        spikes=spikes,
        classes=_classes(evaluation),
        coco=list(evaluation.get("coco", {}).items()),
        pictures=[(picture.name, _data_url(picture)) for picture in pictures],
        config=config.read_text("utf-8", "replace") if config.exists() else "",
        environment=_read_object(run_dir / names.ENVIRONMENT),
    )


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no file."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as problem:
        raise UserError(f"{path}: is not JSON ({problem}); write it again or remove it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no JSON object; write it again or remove it")
    return content


def _headline(train: Sequence[StepRow], evaluation: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The figures at the top that are known, as (name, figure, explanation)."""
    headline = []
    if evaluation:
        metric = str(evaluation.get("metric"))
        headline += [
            ("mAP", percent(evaluation.get("mAP")), METRIC_NAMES.get(metric, metric)),
            ("Images", count(evaluation.get("num_images")), "evaluated"),
            ("Detections", count(evaluation.get("num_detections")), "in these images"),
        ]
    if train:
        seen = sum(row.num_images or 0 for row in train)
        losses = [row.loss for row in train if math.isfinite(row.loss)][-LAST_STEPS:]
        loss = f"{sum(losses) / len(losses):.3f}" if losses else "–"
        headline += [
            ("Steps", count(train[-1].step), f"{count(seen)} images"),
            ("Final loss", loss, f"mean of the last {len(losses)} steps"),
            ("Training time", _duration(train), "without evaluation and saving"),
        ]
    return headline


def _figures(
    train: Sequence[StepRow],
    evaluations: Sequence[EvaluationRow],
    curves: Mapping[str, plots.Curve],
) -> dict[str, Figure]:
    """The figures that there is data for, by name."""
    figures = {}
    if train:
        figures["loss"] = plots.loss_figure(train)
        figures["learning"] = plots.learning_figure(train)
    if evaluations:
        figures["map"] = plots.map_figure(evaluations)
    if any(not math.isnan(curve.average_precision) for curve in curves.values()):
        figures["curves"] = plots.precision_recall_figure(curves)
    return figures


def _classes(evaluation: dict[str, Any]) -> list[tuple[str, Any, float | None]]:
    """Every class as (name, ground truth, AP), the best first, those without AP last."""
    objects = evaluation.get("num_ground_truth", {})
    rows = [
        (name, objects.get(name), ap if is_number(ap) else None)
        for name, ap in evaluation.get("per_class", {}).items()
    ]
    return sorted(rows, key=lambda row: (row[2] is None, -(row[2] or 0.0)))


def _data_url(picture: Picture) -> str:
    jpeg = encode_jpeg(draw(fit(picture, PICTURE_SIDE)))
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _duration(train: Sequence[StepRow]) -> str:
    """The time that the images of all steps took, at their measured speed."""
    seconds = sum(
        (row.num_images or 0) / row.images_per_second for row in train if row.images_per_second > 0
    )
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
