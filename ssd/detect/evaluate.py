"""Evaluates a trained run, or a file of detections, on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.common.sides import in_words
from ssd.config import Config, EvaluationConfig
from ssd.config.settings import Settings, to_yaml
from ssd.data.layout import locate
from ssd.data.learnable import nothing_to_evaluate, refuse
from ssd.data.left_out import SHOWN
from ssd.data.source import load_data
from ssd.detect.analysis import analyse
from ssd.detect.detector import detect
from ssd.detect.load import build_detector, config_of, open_checkpoint
from ssd.evaluation.crowded import crowded
from ssd.evaluation.detections import DetectionTable, read_detections
from ssd.evaluation.measure import measure
from ssd.evaluation.result import EvaluationResult, result_table
from ssd.evaluation.seen import without
from ssd.report.page import write_report
from ssd.run.checkpoint import Checkpoint
from ssd.run.checkpoints import list_checkpoints
from ssd.run.evaluations import differs, evaluation_folder
from ssd.run.folder import check_out
from ssd.run.lock import trains_in
from ssd.run.names import CHECKPOINTS, CONFIG, DIVISION, METRICS
from ssd.run.results import Origin, origin_of, write_results
from ssd.run.rows import only, read_rows
from ssd.spikes.explain import explain
from ssd.spikes.read import read_log
from ssd.steps import StepRow
from ssd.structures import DataSet


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


def evaluate_trained(
    path: Path, overrides: Settings, out: Path | None, which: str | None = None
) -> Judged:
    """Evaluates a run or a checkpoint on its evaluation data.

    Args:
        path: run folder or checkpoint.
        overrides: settings that differ from those it was trained with.
        out: folder for the results; by default the run folder for what the run itself evaluates at
            its end, else one below its `evaluations`. For a checkpoint outside of a run,
            `evaluation_step_N` in the working directory.
        which: the checkpoint of a run folder, as `open_checkpoint` takes it.

    Raises:
        UserError: there is no intact checkpoint, the data is invalid, or `out` holds something
            else.
    """
    checkpoint = open_checkpoint(path, which)
    own = config_of(checkpoint, {})
    config = located(config_of(checkpoint, overrides))
    run = run_of(checkpoint.path)
    default, told = place_of(checkpoint, run, own, config)
    folder = out or default
    is_run = run is not None and folder.resolve() == run.resolve() == default.resolve()
    check_out(folder, "a run" if is_run else "an evaluation", config.data.root)
    detector = build_detector(checkpoint, config)
    data = read_data(config, detector.classes, None if run is None else run / DIVISION)
    found = detect(detector, data.records, config.data.workers)
    data, table = without(data, found.table, found.left_out)
    if not is_run:
        write_config(folder, config)
    origin = origin_of(config, checkpoint.path, checkpoint.manifest.step)
    first = [f"using {checkpoint.choice} ({checkpoint.path})", *filter(None, [told, data.missing])]
    return judge(table, data, config, folder, origin, first)


def place_of(
    checkpoint: Checkpoint, run: Path | None, own: Config, config: Config
) -> tuple[Path, str]:
    """The default folder of an evaluation, and one line if it is not where one would expect it."""
    step = checkpoint.manifest.step
    if run is None:
        return Path(f"evaluation_step_{step}"), ""
    owner = trains_in(run)
    is_last = checkpoint.path.name == list_checkpoints(run / CHECKPOINTS)[0].name
    if is_last and owner is None and not differs(own, config):
        return run, ""
    told = f"{run} is being trained by {owner}, and keeps its own results" if owner else ""
    return evaluation_folder(run, step, own, config), told


def evaluate_detections(file: Path, config: Config, out: Path) -> Judged:
    """Evaluates a file of detections, without a model.

    Raises:
        UserError: the file or the data is invalid.
    """
    check_out(out, "an evaluation", config.data.root)
    config = located(config)
    data = read_data(config, config.data.classes)
    table = read_detections(file, data.image_ids, data.classes, data.category_ids)
    write_config(out, config)
    origin = replace(
        origin_of(config, file, 0), model=None, checkpoint=None, step=None, detections=str(file)
    )
    return judge(table, data, config, out, origin, [f"detections of {file}"])


def run_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, if any."""
    folder = checkpoint.parent if checkpoint.parent.name else checkpoint.resolve().parent
    return folder.parent if folder.name == CHECKPOINTS else None


def located(config: Config) -> Config:
    """The config with the format and the split of the data that lies there.

    Raises:
        UserError: there is no data to evaluate on.
    """
    data, told = locate(config.data, to_train=False)
    if told:
        print(told, flush=True)
    if data.eval_split is None:
        raise UserError("data.eval_split is null: give the split to evaluate on by --split")
    return replace(config, data=data)


def read_data(
    config: Config, classes: Sequence[str] | None, division: Path | None = None
) -> DataSet:
    """The images to evaluate on, by a config that `located` returned.

    Raises:
        UserError: there are none, or they are invalid.
    """
    data = config.data
    loaded = load_data(data, data.eval_split or [], classes, division=division)
    refuse(nothing_to_evaluate(loaded, data))
    return loaded


def judge(
    table: DetectionTable,
    data: DataSet,
    config: Config,
    folder: Path,
    origin: Origin,
    first: Sequence[str],
) -> Judged:
    """Measures the detections and writes the results into `folder`; `first` opens the text."""
    settings = config.evaluation
    result = measure(data, table, settings)
    page = publish(folder, data, table, result, settings, origin)
    limit = crowded(data, settings, detects=origin.checkpoint is not None)
    lines = [
        *first,
        *origin_lines(origin, result),
        *(f"left out: {problem}" for problem in data.unusable[:SHOWN]),
        *([limit] if limit else []),
        f"\n{result_table(result)}\n\nresults: {folder}\nreport: {page}",
    ]
    return Judged(result, "\n".join(lines))


def origin_lines(origin: Origin, result: EvaluationResult) -> list[str]:
    """Tells in two lines what an evaluation is of."""
    splits = [origin.split] if isinstance(origin.split, str) else origin.split or []
    left_out = f", {result.images_left_out} left out" if result.images_left_out else ""
    overlap = "0.50 … 0.95" if origin.iou_threshold is None else f"{origin.iou_threshold:g}"
    model = origin.model
    by = "" if model is None else f"{model.backbone} at {in_words(model.input_size)} pixels, "
    return [
        f"{origin.data} ({origin.format}), split {' + '.join(splits)}: "
        f"{result.num_images} images{left_out}",
        f"{by}{origin.metric} at IoU {overlap}, scores above {origin.score_threshold:g}",
    ]


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
    origin: Origin,
) -> Path:
    """Writes detections.json, evaluation.json and report.html; returns the path of the report."""
    write_results(folder, data, table, result, origin)
    analysis = analyse(data, table, result, config)
    return write_report(folder, spikes_of_run(folder), analysis)


def spikes_of_run(folder: Path) -> str:
    """The verdict of `ssd spikes --explain` on a run; empty if it has no losses."""
    if not only(StepRow, read_rows(folder / METRICS)):
        return ""
    return " ".join(explain(read_log(folder)).paragraphs)
