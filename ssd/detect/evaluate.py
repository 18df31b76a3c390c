"""Evaluates a trained run, or a file of detections, on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.config import Config, EvaluationConfig
from ssd.config.settings import Settings, to_yaml
from ssd.data.layout import locate
from ssd.data.learnable import nothing_to_evaluate, refuse
from ssd.data.left_out import SHOWN
from ssd.data.source import load_data
from ssd.detect.detector import detect
from ssd.detect.load import build_detector, config_of, open_checkpoint
from ssd.detect.shown import pictures
from ssd.evaluation.crowded import crowded
from ssd.evaluation.detections import DetectionTable, read_detections
from ssd.evaluation.measure import measure
from ssd.evaluation.result import EvaluationResult, result_table
from ssd.evaluation.seen import without
from ssd.report.page import write_report
from ssd.report.plots import Curve
from ssd.run.folder import check_out
from ssd.run.names import CHECKPOINTS, CONFIG, DIVISION, METRICS
from ssd.run.results import write_results
from ssd.run.rows import only, read_rows
from ssd.spikes.explain import explain
from ssd.spikes.read import log_of_rows
from ssd.steps import StepRow
from ssd.structures import DataSet

SHOWN_PICTURES = 9


@dataclass(frozen=True)
class Judged:
    """An evaluation that has been written down.

    Attributes:
        result: the figures.
        told: the same for a terminal.
    """

    result: EvaluationResult
    told: str

    def __str__(self) -> str:
        """The text for a terminal."""
        return self.told


def evaluate_trained(path: Path, overrides: Settings, out: Path | None) -> Judged:
    """Evaluates a run or a checkpoint on its evaluation data.

    Args:
        path: run folder or checkpoint.
        overrides: settings that differ from those it was trained with.
        out: folder for the results; by default the run folder, or for a checkpoint
            `evaluation_step_N` in the working directory.

    Raises:
        UserError: there is no intact checkpoint, the data is invalid, or `out` holds something
            else.
    """
    checkpoint = open_checkpoint(path)
    config = config_of(checkpoint, overrides)
    is_run = path != checkpoint.path
    folder = out or (path if is_run else Path(f"evaluation_{checkpoint.path.name}"))
    check_out(folder, "a run" if folder == path else "an evaluation", config.data.root)
    detector = build_detector(checkpoint, config)
    config, data = read_data(config, detector.classes, division_of(path))
    found = detect(detector, data.records, config.data.workers)
    data, table = without(data, found.table, found.left_out)
    if folder != path:
        write_config(folder, config)
    return judge(table, data, config, folder, checkpoint.path)


def evaluate_detections(file: Path, config: Config, out: Path) -> Judged:
    """Evaluates a file of detections, without a model.

    Raises:
        UserError: the file or the data is invalid.
    """
    check_out(out, "an evaluation", config.data.root)
    config, data = read_data(config, config.data.classes)
    table = read_detections(file, data.image_ids, data.classes, data.category_ids)
    write_config(out, config)
    return judge(table, data, config, out, None)


def division_of(path: Path) -> Path:
    """The file in a run folder that keeps its division of the images; also of its checkpoints."""
    is_run = (path / CHECKPOINTS).is_dir()
    return (path if is_run else path.resolve().parent.parent) / DIVISION


def read_data(
    config: Config, classes: Sequence[str] | None, division: Path | None = None
) -> tuple[Config, DataSet]:
    """The images to evaluate on, and the config with the splits that were found.

    Raises:
        UserError: there are none, or they are invalid.
    """
    data, told = locate(config.data, to_train=False)
    if told:
        print(told, flush=True)
    if data.eval_split is None:
        raise UserError("data.eval_split is null: give the split to evaluate on by --split")
    loaded = load_data(data, data.eval_split, classes, division=division)
    refuse(nothing_to_evaluate(loaded, data))
    return replace(config, data=data), loaded


def judge(
    table: DetectionTable, data: DataSet, config: Config, folder: Path, checkpoint: Path | None
) -> Judged:
    """Measures the detections, by the checkpoint if any, and writes the results into `folder`."""
    settings = config.evaluation
    result = measure(data, table, settings)
    page = publish(folder, data, table, result, settings)
    overlap = "0.50 … 0.95" if settings.metric == "coco" else f"{settings.iou_threshold:g}"
    rule = f"{settings.metric} at IoU {overlap}, {len(data.records)} images"
    left_out = [f"left out: {problem}" for problem in data.unusable[:SHOWN]]
    if data.unusable:
        rule += f", {len(data.unusable)} left out"
    limit = crowded(data, settings, detects=checkpoint is not None)
    lines = [
        *([f"checkpoint {checkpoint}\n"] if checkpoint else []),
        *(rule, *left_out, *([limit] if limit else [])),
        f"\n{result_table(result)}\n\nreport: {page}",
    ]
    return Judged(result, "\n".join(lines))


def write_config(folder: Path, config: Config) -> None:
    """Writes the resolved config beside the results."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG, to_yaml(config))


def publish(
    folder: Path,
    data: DataSet,
    table: DetectionTable,
    result: EvaluationResult,
    config: EvaluationConfig,
) -> Path:
    """Writes detections.json, evaluation.json and report.html; returns the path of the report."""
    write_results(folder, data, table, result, config.metric)
    curves = {
        name: Curve(recall, precision, result.per_class[name])
        for name, (recall, precision, _) in result.curves.items()
    }
    spikes = spikes_of_run(folder)
    return write_report(folder, spikes, curves, pictures(data, table, SHOWN_PICTURES))


def spikes_of_run(folder: Path) -> str:
    """The explanation of regular spikes, once per pass, in the losses of a run."""
    rows = only(StepRow, read_rows(folder / METRICS))
    if not rows:
        return ""
    log = log_of_rows(rows, "this run")
    explanation = explain(log, log.steps_per_epoch)
    return f"{explanation.sentence} {explanation.advice}"
