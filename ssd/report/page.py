"""Writes the report.html of a run folder, which needs no network, no script and no other file."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssd.common.errors import UserError
from ssd.common.untrusted import read_regular
from ssd.config.settings import load_yaml
from ssd.evaluation.at_score import calibration, confusion
from ssd.report import head, plots, score_plots
from ssd.report.analysis import Analysis, Example, bars, class_counts, confusion_rows, totals
from ssd.report.pictures import Picture, draw, encode_jpeg, fit
from ssd.report.render import TEMPLATES, is_number, write_page
from ssd.run import names
from ssd.run.changes import changes
from ssd.run.rows import only, read_rows
from ssd.steps import EvaluationRow, StepRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_SIDE, EXAMPLE_SIDE = 720, 480
PICTURE_LETTERS, EXAMPLE_LETTERS = 1.2, 1.9  # larger, since they are shown small
SECTIONS = ("data", "model", "evaluation")


def write_report(run_dir: Path, spikes: str = "", analysis: Analysis | None = None) -> Path:
    """Writes `report.html` into a run folder and returns its path.

    What the folder lacks (metrics.jsonl, evaluation.json, config.yaml, environment.json,
    changes.jsonl) is left out of the page. The file appears whole or not at all.

    Args:
        run_dir: the run folder.
        spikes: the text about regular spikes of the loss.
        analysis: the results of an evaluation.

    Raises:
        UserError: a JSON file of the folder is broken.
    """
    rows = read_rows(run_dir / names.METRICS)
    train, evaluations = only(StepRow, rows), only(EvaluationRow, rows)
    scored = [row for row in evaluations if math.isfinite(row.mAP)]
    evaluation = _read_object(run_dir / names.EVALUATION)
    environment = _read_object(run_dir / names.ENVIRONMENT)
    config = _read_text(run_dir / names.CONFIG)
    return write_page(
        run_dir / names.REPORT,
        TEMPLATES / "page.html",
        _figures(train, scored, analysis, plots.WIDE),
        _figures(train, scored, analysis, plots.SLIM),
        name=run_dir.resolve().name,
        facts=head.facts(evaluation, _settings(config), environment, train, evaluations),
        tiles=head.tiles(evaluation, train, evaluations),
        spikes=spikes,
        coco=list(evaluation.get("coco", {}).items()),
        classes=_classes(evaluation),
        score=evaluation.get("mAP"),
        evaluations=len(scored),
        changes=changes(run_dir),
        config=config,
        environment=environment,
        **_analysed(analysis, evaluation.get("metric")),
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


def _read_text(path: Path) -> str:
    return read_regular(path).decode("utf-8", "replace") if path.exists() else ""


def _settings(config: str) -> dict[str, dict[str, Any]]:
    """The sections of the settings that the head names; empty where they cannot be read."""
    try:
        content = load_yaml(config)
    except ValueError:
        return {}
    found = content if isinstance(content, dict) else {}
    return {name: found[name] for name in SECTIONS if isinstance(found.get(name), dict)}


def _figures(
    train: Sequence[StepRow],
    scored: Sequence[EvaluationRow],
    analysis: Analysis | None,
    width: float,
) -> dict[str, Figure]:
    """The figures that there is data for, by name, for screens of some width."""
    figures = {}
    if train:
        figures["loss"] = plots.loss_figure(train, width)
        figures["learning"] = plots.learning_figure(train, width)
    if scored:
        figures["map"] = score_plots.map_figure(scored, width)
    if analysis is not None and score_plots.drawn_curves(analysis.curves):
        figures["curves"] = score_plots.precision_recall_figure(analysis.curves, width)
    if analysis is not None:
        _, precision, count = calibration(analysis.judged)
        if count.any():
            figures["calibration"] = score_plots.calibration_figure(precision, count, width)
    return figures


def _analysed(analysis: Analysis | None, metric: Any) -> dict[str, Any]:
    """The tables and pictures of the analysis; empty ones without it."""
    if analysis is None:
        empty = dict.fromkeys(("counts", "total", "bars", "sizes", "mistakes", "misses"), ())
        return {**empty, "at": None, "confusion": None, "pictures": (), "more_curves": 0}
    counts = class_counts(analysis)
    score, classes = analysis.at.score, analysis.classes
    several = len(classes) > 1 and any(sum(row.values()) for row in counts.values())
    matrix = confusion(analysis.judged, score, len(classes)) if several else None
    drawable = sum(not math.isnan(c.average_precision) for c in analysis.curves.values())
    return {
        "at": analysis.at,
        "right_iou": analysis.right_iou,
        "metric": metric,
        "counts": counts,
        "total": totals(counts),
        "bars": bars(counts),
        "sizes": [(name, size) for name, size in analysis.sizes.items() if size.objects],
        "confusion": None if matrix is None else confusion_rows(matrix, classes),
        "more_curves": max(0, drawable - score_plots.MOST_CURVES) and drawable,
        "pictures": [(picture.name, _data_url(picture)) for picture in analysis.pictures],
        "mistakes": _examples(analysis.mistakes),
        "misses": _examples(analysis.misses),
    }


def _classes(evaluation: Mapping[str, Any]) -> list[tuple[str, Any, float | None]]:
    """Every class as (name, ground truth, AP), the best first, those without AP last."""
    objects = evaluation.get("num_ground_truth", {})
    rows = [
        (name, objects.get(name), ap if is_number(ap) else None)
        for name, ap in evaluation.get("per_class", {}).items()
    ]
    return sorted(rows, key=lambda row: (row[2] is None, -(row[2] or 0.0)))


def _examples(examples: Sequence[Example]) -> list[tuple[str, str, str, str]]:
    """The examples as (text, more about it, name of the image, picture)."""
    return [
        (
            each.text,
            each.more,
            each.picture.name,
            _data_url(each.picture, EXAMPLE_SIDE, EXAMPLE_LETTERS),
        )
        for each in examples
    ]


def _data_url(picture: Picture, side: int = PICTURE_SIDE, letters: float = PICTURE_LETTERS) -> str:
    jpeg = encode_jpeg(draw(fit(picture, side), letters))
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
