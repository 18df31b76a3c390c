"""The head of the report: what the results are results of, and the figures one looks for first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssd.report.render import count, is_number, percent
from ssd.steps import EvaluationRow, StepRow

METRIC_NAMES = {
    "voc07": "VOC 2007, 11 points",
    "voc_area": "VOC, area under the curve",
    "coco": "COCO",
}
Tile = tuple[str, str, str]


def facts(
    evaluation: Mapping[str, Any],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    train: Sequence[StepRow],
    rows: Sequence[EvaluationRow],
) -> list[tuple[str, str]]:
    """Data, model, metric, checkpoint and date as (name, text), without what is not known.

    Args:
        evaluation: the content of evaluation.json; older ones say little about themselves.
        config: the settings of the run, by section.
        environment: the content of environment.json.
        train: the steps of the run; without any, the folder holds an evaluation alone, and the
            model of its config need not be the one evaluated.
        rows: the evaluations during the training.
    """
    named = {
        "Data": _data(evaluation, config),
        "Model": _model(evaluation.get("model") or (config.get("model") if train else None)),
        "Metric": _metric(evaluation, config, rows),
        "Checkpoint": _checkpoint(evaluation),
        "Detections": str(evaluation.get("detections") or ""),
        "Date": _date(evaluation.get("date") or environment.get("started")),
    }
    return [(name, text) for name, text in named.items() if text]


def tiles(
    evaluation: Mapping[str, Any],
    train: Sequence[StepRow],
    rows: Sequence[EvaluationRow],
) -> list[Tile]:
    """The figures at the top that are known, as (name, figure, explanation)."""
    found = [*_scores(evaluation, rows)]
    if train:
        found += _training(train)
    speed = evaluation.get("images_per_second")
    if is_number(speed):
        found.append(("Evaluation", f"{speed:.0f}", "images per second"))
    return found


def _scores(evaluation: Mapping[str, Any], rows: Sequence[EvaluationRow]) -> Iterator[Tile]:
    """The score of this evaluation, and the last and the best one of the training."""
    scored = [row for row in rows if math.isfinite(row.mAP)]
    score = evaluation.get("mAP")
    images = evaluation.get("num_images")
    if is_number(score):
        on = f"on {plural(images, 'image')}" if is_number(images) else "of this evaluation"
        yield "mAP", percent(score), on
    if not scored:
        return
    last, best = scored[-1], max(scored, key=lambda row: row.mAP)
    if not is_number(score) or (len(scored) > 1 and percent(last.mAP) != percent(score)):
        yield "Last score", percent(last.mAP), f"mAP, {when(last)}"
    if len(scored) > 1:
        yield "Best score", percent(best.mAP), f"mAP, {when(best)}"


def _training(train: Sequence[StepRow]) -> Iterator[Tile]:
    last = train[-1]
    images = sum(row.num_images or 0 for row in train)
    steps = plural(last.step, "step")
    if last.epoch is not None and last.steps_per_epoch:
        passes = last.step / last.steps_per_epoch
        yield "Epochs", f"{passes:.1f}".removesuffix(".0"), f"{steps}, {plural(images, 'image')}"
    else:
        yield "Steps", count(last.step), plural(images, "image")
    timed = [row for row in train if row.num_images and row.images_per_second > 0]
    seconds = sum((row.num_images or 0) / row.images_per_second for row in timed)
    if seconds > 0:
        yield "Training time", duration(seconds), "without evaluation and saving"
        speed = sum(row.num_images or 0 for row in timed) / seconds
        yield "Speed", f"{speed:.{0 if speed >= 10 else 1}f}", "images per second in training"


def when(row: EvaluationRow) -> str:
    """The place of an evaluation in the training; epochs count from 1."""
    return f"step {count(row.step)}" if row.epoch is None else f"after epoch {row.epoch + 1}"


def plural(number: Any, noun: str) -> str:
    """Writes "1 image" or "1 234 images"."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Writes 75 seconds as "75 s", 600 as "10 min" and 8000 as "2 h 13 min"."""
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _data(evaluation: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    data = config.get("data", {})
    root = evaluation.get("data") or data.get("root")
    split = evaluation.get("split") or data.get("eval_split")
    images = evaluation.get("num_images")
    left_out = evaluation.get("left_out") or evaluation.get("images_left_out")
    names = "" if split is None else " + ".join(map(str, split if _is_list(split) else [split]))
    parts = [
        str(root) if root is not None else "",
        f"{evaluation.get('format') or data.get('format') or ''}",
        f"split {names}" if names else "",
        plural(images, "image") if is_number(images) else "",
        f"{count(left_out)} left out" if is_number(left_out) and left_out else "",
    ]
    return " · ".join(part for part in parts if part)


def _model(model: Any) -> str:
    """A model's own words, or its backbone and the size of its input."""
    if not isinstance(model, dict) or not model.get("backbone"):
        return model if isinstance(model, str) else ""
    size = model.get("input_size")
    sides = size if isinstance(size, list) and len(size) == 2 else [size, size]
    return f"{model['backbone']} at {' × '.join(map(count, sides))} pixels"


def _metric(
    evaluation: Mapping[str, Any], config: Mapping[str, Any], rows: Sequence[EvaluationRow]
) -> str:
    settings = config.get("evaluation", {})
    metric = evaluation.get("metric") or (rows[-1].metric if rows else "")
    if metric == "coco":
        return "mAP · COCO, mean over the overlaps (IoU) 0.50 to 0.95"
    overlap = evaluation.get("iou_threshold") or settings.get("iou_threshold")
    at = f", at overlap (IoU) {overlap:g}" if is_number(overlap) else ""
    return f"mAP · {METRIC_NAMES.get(str(metric), metric)}{at}" if metric else ""


def _checkpoint(evaluation: Mapping[str, Any]) -> str:
    step, name = evaluation.get("step"), evaluation.get("checkpoint")
    told = f"step {count(step)}" if is_number(step) else ""
    folder = Path(str(name)).name if name is not None else ""
    return folder if folder and (folder == f"step_{step}" or not told) else told


def _date(text: Any) -> str:
    """The date and time of day of an ISO date, without the seconds; anything else as it is."""
    told = "" if text is None else str(text)
    return told[:16].replace("T", " ") if len(told) > 16 and told[10] == "T" else told


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
