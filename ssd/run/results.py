"""The results of an evaluation, detections.json and evaluation.json, and what they are of."""

from __future__ import annotations

import datetime
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ssd.common.errors import UserError, one_line
from ssd.common.files import write_whole
from ssd.common.untrusted import read_regular
from ssd.config import Config, Metric
from ssd.evaluation.detections import DetectionTable, write_detections
from ssd.evaluation.result import EvaluationResult
from ssd.run.names import DETECTIONS, EVALUATION

if TYPE_CHECKING:
    from ssd.structures import DataSet


@dataclass(frozen=True)
class Model:
    """The model that was evaluated; `input_size` as in the config."""

    backbone: str
    input_size: int | list[int]


@dataclass(frozen=True)
class Origin:
    """What an evaluation is of.

    Attributes:
        data: `data.root`.
        format: of the data.
        split: one or several.
        metric: as in the config.
        iou_threshold: overlap at which a detection counts as correct; None for `coco`, which has
            ten of its own.
        score_threshold: detections below it do not count.
        mirror: whether mirror images were looked at too.
        model: None for detections from a file.
        checkpoint: its path; None for detections from a file.
        step: optimizer steps taken, of the checkpoint.
        detections: the file of detections that was evaluated instead.
    """

    data: str
    format: str
    split: str | list[str] | None
    metric: Metric
    iou_threshold: float | None
    score_threshold: float
    mirror: bool = False
    model: Model | None = None
    checkpoint: str | None = None
    step: int | None = None
    detections: str | None = None


@dataclass(frozen=True)
class StoredEvaluation:
    """The content of evaluation.json: that of `Origin`, and the figures of `EvaluationResult`.

    All but the metric and the AP of each class may be missing: older files say little about what
    they are of. `date` is the end of the evaluation in ISO 8601, UTC; `left_out` counts the images
    that could not be read.
    """

    metric: Metric
    per_class: dict[str, float | None]
    mAP: float | None = None  # noqa: N815 - the field's standard name
    num_images: int | None = None
    left_out: int | None = None
    num_detections: int | None = None
    num_ground_truth: dict[str, int] = field(default_factory=dict)
    coco: dict[str, float | None] = field(default_factory=dict)
    date: str | None = None
    data: str | None = None
    format: str | None = None
    split: str | list[str] | None = None
    iou_threshold: float | None = None
    score_threshold: float | None = None
    mirror: bool = False
    model: Model | None = None
    checkpoint: str | None = None
    step: int | None = None
    detections: str | None = None


def read_evaluation(path: Path) -> StoredEvaluation:
    """The content of an evaluation.json.

    Raises:
        UserError: it cannot be read, or holds no evaluation.
    """
    try:
        return msgspec.json.decode(read_regular(path), type=StoredEvaluation)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): correct the path") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = one_line(error)
        raise UserError(f"{path} holds no evaluation ({reason}): write it again") from error


def origin_of(config: Config, checkpoint: Path, step: int) -> Origin:
    """The origin of an evaluation of a checkpoint by the settings of `config`."""
    data, judged = config.data, config.evaluation
    return Origin(
        data=data.root,
        format=data.format,
        split=data.eval_split,
        metric=judged.metric,
        iou_threshold=None if judged.metric == "coco" else judged.iou_threshold,
        score_threshold=judged.score_threshold,
        mirror=judged.mirror,
        model=Model(config.model.backbone, config.model.input_size),
        checkpoint=str(checkpoint),
        step=step,
    )


def write_results(
    folder: Path, data: DataSet, table: DetectionTable, result: EvaluationResult, origin: Origin
) -> None:
    """Writes both files; creates the folder if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    names = data.image_ids, data.classes, data.category_ids
    write_detections(folder / DETECTIONS, table, *names)
    write_evaluation(folder / EVALUATION, result, origin)


def write_evaluation(path: Path, result: EvaluationResult, origin: Origin) -> None:
    """Writes evaluation.json, complete or not at all; a NaN becomes null."""
    content = {
        **asdict(origin),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "mAP": _null_if_nan(result.mAP),
        "per_class": _nulls_for_nans(result.per_class),
        "num_images": result.num_images,
        "left_out": result.images_left_out,
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
