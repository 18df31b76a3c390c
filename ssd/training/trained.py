"""What a run has learned, put to use: evaluated on a data set, or handed out as a detector."""

from __future__ import annotations

from pathlib import Path

import torch

from ssd.augment.batch import preprocess_of
from ssd.config import Config
from ssd.data.source import load_data
from ssd.errors import UserError, one_line
from ssd.evaluation.detections import DetectionTable, read_detections
from ssd.evaluation.evaluate import Detector, detect, measure
from ssd.evaluation.results import result_table
from ssd.files import write_whole
from ssd.model.ssd import build_model
from ssd.results import write_results
from ssd.settings import Settings, merge, parse_yaml, to_config, to_yaml
from ssd.structures import DataSet
from ssd.training.checkpoint import Checkpoint, load_checkpoint, newest_intact
from ssd.training.device import autocast_dtype, choose_device


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`, or the newest intact one of the run folder `path`.

    Raises:
        UserError: there is none, or it is damaged.
    """
    if not path.is_dir():
        raise UserError(
            f"{path} is no folder: give a run folder, or a checkpoint such as "
            "runs/mine/checkpoints/step_1000"
        )
    if not (path / "checkpoints").is_dir():
        return load_checkpoint(path)
    checkpoint, problems = newest_intact(path / "checkpoints")
    if checkpoint is None:
        reason = "; ".join(problems) or "it holds none"
        raise UserError(f"{path / 'checkpoints'} has no intact checkpoint: {reason}")
    return checkpoint


def config_of(checkpoint: Checkpoint, overrides: Settings) -> Config:
    """The config that a checkpoint was trained with, under `overrides`."""
    settings = parse_yaml(checkpoint.config_yaml, f"the config of {checkpoint.path}")
    merge(settings, overrides)
    return to_config(settings)


def build_detector(checkpoint: Checkpoint, config: Config) -> Detector:
    """The detector that a checkpoint holds, with averaged weights where they were kept.

    Raises:
        UserError: the config describes another model than the one that was saved.
    """
    device = choose_device(config.training.device)
    model = build_model(config.model, len(checkpoint.manifest.classes) + 1)
    try:
        model.load_state_dict(checkpoint.weights)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{checkpoint.path} does not fit the model of its config: {one_line(error)[:300]}"
        ) from error
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    preprocess = preprocess_of(config.model, config.augment)
    dtype = autocast_dtype(config.training.precision, device)
    classes = tuple(checkpoint.manifest.classes)
    return Detector(model.eval(), preprocess, classes, dtype, config.evaluation)


def evaluate_trained(path: Path, overrides: Settings, out: Path | None) -> str:
    """Evaluates a run or a checkpoint on its evaluation data.

    Args:
        path: run folder or checkpoint.
        overrides: settings that differ from those it was trained with.
        out: where the results go; without it the run folder, or `evaluation_step_N` here.

    Returns:
        What to tell the user.
    """
    checkpoint = open_checkpoint(path)
    config = config_of(checkpoint, overrides)
    detector = build_detector(checkpoint, config)
    data = load_data(config.data, config.data.eval_split, detector.classes)
    table = detect(detector, data.records, config.data.workers)
    is_run = path != checkpoint.path
    folder = out or (path if is_run else Path(f"evaluation_{checkpoint.path.name}"))
    if folder != path:
        write_config(folder, config)
    return f"checkpoint {checkpoint.path}\n\n{judge(table, data, config, folder)}"


def evaluate_detections(file: Path, config: Config, out: Path) -> str:
    """Evaluates a file of detections, without any model.

    Returns:
        What to tell the user.

    Raises:
        UserError: the file or the data does not make sense.
    """
    data = load_data(config.data, config.data.eval_split, config.data.classes)
    table = read_detections(file, data.image_ids, data.classes, data.category_ids)
    write_config(out, config)
    return judge(table, data, config, out)


def judge(table: DetectionTable, data: DataSet, config: Config, folder: Path) -> str:
    """Writes results into `folder`; returns the table of classes and where the report is."""
    settings = config.evaluation
    result = measure(data, table, settings)
    page = write_results(folder, data, table, result, settings)
    overlap = "0.50 … 0.95" if settings.metric == "coco" else f"{settings.iou_threshold:g}"
    rule = f"{settings.metric} at IoU {overlap}, {len(data.records)} images"
    return f"{rule}\n\n{result_table(result)}\n\nreport: {page}"


def write_config(folder: Path, config: Config) -> None:
    """Leaves the resolved config beside the results; that of a run stays as it was.

    Raises:
        UserError: the folder is that of a run.
    """
    if (folder / "checkpoints").exists():
        raise UserError(f"{folder} is a run and keeps its own results: give another --out")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "config.yaml", to_yaml(config))
