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
from ssd.evaluation.tally import Tally
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
    truth, names = data.truth or truth_of_records(data), data.classes
    judge = _judged(data, truth, detections, evaluator)
    with contextlib.redirect_stdout(io.StringIO()):
        judge.accumulate()
        judge.summarize()
    stats = np.asarray(judge.stats, np.float64)
    arrays = (np.asarray(judge.eval[key], np.float64) for key in ("precision", "scores", "recall"))
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


def tally_coco(data: DataSet, detections: DetectionTable) -> list[list[Tally]]:
    """The detections of each class, judged at each of the ten overlaps by pycocotools."""
    judge = _judged(data, data.truth or truth_of_records(data), detections, "pycocotools")
    images = np.argsort(_ranks(data))  # in the order of their ids
    stride = len(judge.params.areaRng) * len(images)
    overlaps, most = len(judge.params.iouThrs), judge.params.maxDets[-1]
    tallies = []
    for label in range(len(data.classes)):
        judged = judge.evalImgs[label * stride :][: len(images)]  # objects of all sizes come first
        objects_I = np.zeros(len(images), np.int64)
        for image, one in zip(images, judged, strict=True):
            objects_I[image] = 0 if one is None else np.sum(np.asarray(one["gtIgnore"]) == 0)
        seen = [(image, one) for image, one in zip(images, judged, strict=True) if one is not None]
        tallies.append([_tally(seen, objects_I, most, overlap) for overlap in range(overlaps)])
    return tallies


def _tally(
    seen: Sequence[tuple[int, dict[str, Any]]], objects_I: IntArray, most: int, overlap: int
) -> Tally:
    """The tally of a class from the judged images, in the order in which COCO accumulates them."""
    counts = [len(one["dtScores"][:most]) for _, one in seen]
    images_D = np.repeat(np.array([image for image, _ in seen], np.int64), counts)
    scores_D = np.concatenate([np.zeros(0), *(one["dtScores"][:most] for _, one in seen)])
    matched_D, ignored_D = (
        np.concatenate([np.zeros(0, np.bool_), *(one[key][overlap, :most] > 0 for _, one in seen)])
        for key in ("dtMatches", "dtIgnore")
    )
    order = np.argsort(-scores_D, kind="stable")
    order = order[~ignored_D[order]]
    return Tally(images_D[order], matched_D[order], scores_D[order], objects_I)


def _judged(
    data: DataSet, truth: CocoTruth, detections: DetectionTable, evaluator: CocoEvaluator
) -> Any:
    """The evaluator with each image judged; the output that it prints is discarded."""
    ids, names = _ranks(data), enumerate(data.classes, start=1)
    ground_truth: dict[str, Any] = {
        "info": {},  # pycocotools before 2.0.11 needs it
        "images": [{"id": image_id} for image_id in ids.tolist()],
        "categories": [{"id": label, "name": name} for label, name in names],
        "annotations": _annotations(truth, ids),
    }
    found_D7 = _rows(detections, ids)
    coco, coco_eval = _classes_of(evaluator)
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco()
        known.dataset = ground_truth
        known.createIndex()
        judge = coco_eval(known, known.loadRes(found_D7) if len(found_D7) else coco(), "bbox")
        judge.evaluate()
    return judge


def _ranks(data: DataSet) -> IntArray:
    """Ranks [I] in the place of COCO's image ids, which break ties in score.

    The ids themselves may not fit a float.
    """
    return np.asarray(np.argsort(np.argsort(np.array(data.image_ids))))


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
