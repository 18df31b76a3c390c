"""COCO's average precision and recall, by pycocotools or an evaluator with identical figures.

AP is the mean over the overlaps 0.50, 0.55, … 0.95 of the area under the precision-recall curve
at 101 recalls; at most 100 detections of an image and class count. Objects are small below 32²
pixels and large from 96². Source: pycocotools' `cocoeval.py`.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssd.common.errors import UserError
from ssd.config import CocoEvaluator
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.result import EvaluationResult, Floats
from ssd.structures import CocoTruth, DataSet, IntArray

FIGURES = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)


def evaluate_coco(
    data: DataSet, detections: DetectionTable, evaluator: CocoEvaluator
) -> EvaluationResult:
    """The twelve figures, AP by class, and the curves at overlap 0.5.

    Data of another format is evaluated as if it were COCO's: an object's area is that of its box,
    and a `difficult` object is a crowd, since neither is counted or penalised.

    Args:
        data: the images; `detections.image_index` is a position among them.
        detections: in any order; among equal scores the earlier one comes first.
        evaluator: the implementation to use.

    Raises:
        UserError: the evaluator is not installed.
    """
    truth = data.truth or truth_of_records(data)
    # Ranks stand in for COCO's image ids, whose order breaks ties in score but which may not fit
    # a float.
    ids = np.argsort(np.argsort(np.array(data.image_ids)))
    names = data.classes
    ground_truth: dict[str, Any] = {
        "info": {},  # pycocotools before 2.0.11 needs it
        "images": [{"id": image_id} for image_id in ids.tolist()],
        "categories": [{"id": label, "name": name} for label, name in enumerate(names, start=1)],
        "annotations": _annotations(truth, ids),
    }
    stats, *arrays = _evaluate(ground_truth, _rows(detections, ids), evaluator)
    figures = dict(zip(FIGURES, map(_nan_if_absent, stats.tolist()), strict=True))
    per_class, curves = _by_class(names, *arrays)
    counted, found = (
        np.bincount(labels, minlength=len(names) + 1)[1:].tolist()
        for labels in (truth.labels[~truth.crowd], detections.labels)
    )
    return EvaluationResult(
        mAP=figures["AP"],
        per_class=per_class,
        curves=curves,
        num_ground_truth=dict(zip(names, counted, strict=True)),
        detections_per_class=dict(zip(names, found, strict=True)),
        num_images=len(data.records),
        num_detections=len(detections),
        coco=figures,
    )


def truth_of_records(data: DataSet) -> CocoTruth:
    """The objects of data in another format, as COCO would count them."""
    records = data.records
    boxes = np.concatenate([np.zeros((0, 4)), *(record.boxes for record in records)])
    sides = boxes[:, 2:] - boxes[:, :2]
    return CocoTruth(
        np.repeat(np.arange(len(records)), [len(record.labels) for record in records]),
        np.concatenate([np.zeros(0, np.int64), *(record.labels for record in records)]),
        np.concatenate([boxes[:, :2], sides], 1),
        sides.prod(1),
        np.concatenate([np.zeros(0, np.bool_), *(r.difficult | r.crowd for r in records)]),
    )


def _by_class(
    names: Sequence[str], precision: Floats, scores: Floats, recall: Floats
) -> tuple[dict[str, float], dict[str, tuple[Floats, Floats, Floats]]]:
    """AP of every class, and its curve at overlap 0.5 up to the highest recall it reaches."""
    recalls = np.linspace(0, 1, precision.shape[1])
    per_class, curves = {}, {}
    for index, name in enumerate(names):
        per_class[name] = _nan_if_absent(float(precision[:, :, index, 0, 2].mean()))
        reached = recalls <= recall[0, index, 0, 2]
        curve = precision[0, reached, index, 0, 2], scores[0, reached, index, 0, 2]
        curves[name] = (recalls[reached], *curve)
    return per_class, curves


def _nan_if_absent(figure: float) -> float:
    """The figure; NaN for -1, which means that there is no object."""
    return figure if figure >= 0 else math.nan


def _rows(detections: DetectionTable, ids: IntArray) -> Floats:
    """The detections [D, 7] as both evaluators take them: image, x, y, w, h, score, category."""
    columns = detections.scores, detections.labels
    return np.column_stack([ids[detections.image_index], detections.bbox, *columns])


def _annotations(truth: CocoTruth, ids: IntArray) -> list[dict[str, Any]]:
    columns = (
        ids[truth.image_index].tolist(),
        truth.labels.tolist(),
        truth.boxes.tolist(),
        truth.areas.tolist(),
        truth.crowd.tolist(),
    )
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": label,
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
        }
        for number, (image_id, label, box, area, crowd) in enumerate(
            zip(*columns, strict=True), start=1
        )
    ]


def _evaluate(
    ground_truth: dict[str, Any], found_D7: Floats, evaluator: CocoEvaluator
) -> tuple[Floats, Floats, Floats, Floats]:
    """The figures [12], then precision, scores [T, R, C, A, M] and recall [T, C, A, M].

    T overlaps, R recalls, C classes, A ranges of area, M limits of detections; −1 where a class
    has no object. Both evaluators have the same interface; the output they print is discarded.
    """
    coco, coco_eval = _classes_of(evaluator)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco()
        truth.dataset = ground_truth
        truth.createIndex()
        found = truth.loadRes(found_D7) if len(found_D7) else coco()
        judge = coco_eval(truth, found, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    results = (judge.eval[key] for key in ("precision", "scores", "recall"))
    precision, scores, recall = (np.asarray(values, np.float64) for values in results)
    return np.asarray(judge.stats, np.float64), precision, scores, recall


def _classes_of(evaluator: CocoEvaluator) -> tuple[Any, Any]:
    match evaluator:
        case "pycocotools":
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        case "hotcoco":
            try:
                from hotcoco import COCO, COCOeval
            except ImportError as error:
                raise UserError(
                    "evaluation.coco_evaluator is hotcoco, which is not installed: pip install "
                    "hotcoco, or give --evaluation.coco_evaluator pycocotools"
                ) from error
    return COCO, COCOeval
