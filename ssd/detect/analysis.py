"""Detections of a data set → what the report shows of them: figures, pictures, mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.config import EvaluationConfig
from ssd.data.image import read_pixels
from ssd.detect.shown import ground_truth, pictures
from ssd.evaluation.at_score import best_f1
from ssd.evaluation.by_size import results_by_size
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.mistakes import (
    DUPLICATE,
    KIND_NAMES,
    RIGHT,
    RIGHT_IOU,
    UNCOUNTED,
    JudgedDetections,
    judge_detections,
)
from ssd.evaluation.result import EvaluationResult
from ssd.report.analysis import Analysis, Example
from ssd.report.pictures import Box, Picture, boxes, cut_out
from ssd.report.score_plots import Curve
from ssd.structures import DataSet

SHOWN_PICTURES, SHOWN_EXAMPLES = 8, 8


def analyse(
    data: DataSet, table: DetectionTable, result: EvaluationResult, config: EvaluationConfig
) -> Analysis:
    """What the report shows of an evaluation.

    Args:
        data: the images; `table.image_index` is a position among them.
        table: the detections.
        result: their evaluation.
        config: the section of the config. Under VOC's metrics a box is right by its
            `iou_threshold`, under COCO's by an overlap of `RIGHT_IOU`.
    """
    right_iou = RIGHT_IOU if config.metric == "coco" else config.iou_threshold
    judged = judge_detections(data.records, table, right_iou)
    at = best_f1(judged)
    return Analysis(
        classes=data.classes,
        judged=judged,
        at=at,
        right_iou=right_iou,
        sizes=results_by_size(judged, at.score, config.metric, result.coco),
        curves={
            name: Curve(recall, precision, result.per_class[name])
            for name, (recall, precision, _) in result.curves.items()
        },
        pictures=pictures(data, table, SHOWN_PICTURES, at.score),
        mistakes=list(islice(_mistakes(data, judged, at.score), SHOWN_EXAMPLES)),
        misses=list(islice(_misses(data, judged, at.score), SHOWN_EXAMPLES)),
    )


def _mistakes(data: DataSet, judged: JudgedDetections, score: float) -> Iterator[Example]:
    """The mistakes of at least a score, the most confident first; unreadable images are skipped."""
    table, kinds_D, object_of_D = judged.table, judged.kinds, judged.object_of
    wrong_D = (kinds_D != RIGHT) & (kinds_D != UNCOUNTED) & (table.scores >= score)
    rows = np.flatnonzero(wrong_D)
    for row in rows[np.argsort(-table.scores[rows], kind="stable")].tolist():
        image, of = int(table.image_index[row]), int(object_of_D[row])
        predictions = _rows(data, table, [row])
        more = "on no object of its class"
        if of >= 0:
            name = data.classes[int(judged.objects.labels[of]) - 1]
            more = f"overlap {judged.overlaps[row]:.2f} with {name}"
        if kinds_D[row] == DUPLICATE:
            better = np.flatnonzero((kinds_D == RIGHT) & (object_of_D == of)).tolist()
            predictions += _rows(data, table, better)
        (wrong, *_) = predictions
        text = f"{KIND_NAMES[int(kinds_D[row])]}: {wrong.name} {table.scores[row]:.2f}"
        with suppress(UserError):
            truth = [
                box if _touch(box, wrong) else replace(box, name="")
                for box in ground_truth(data.records[image], data.classes)
            ]
            corners = judged.objects.boxes[[of]] if of >= 0 else table.boxes[[row]]
            around = np.concatenate([table.boxes[[row]], corners])
            yield Example(_cut(data, image, predictions, truth, around), text, more)


def _misses(data: DataSet, judged: JudgedDetections, score: float) -> Iterator[Example]:
    """The objects that are missed at a score, the largest share of an image first."""
    table, objects = judged.table, judged.objects
    rows = np.flatnonzero(judged.missed(score))
    share_N = objects.areas / np.maximum(objects.image_areas, 1)
    for row in rows[np.argsort(-share_N[rows], kind="stable")].tolist():
        image, corners = int(objects.image_index[row]), objects.boxes[[row]]
        found = np.flatnonzero((table.image_index == image) & (table.scores >= score)).tolist()
        (missed,) = boxes(data.classes, [int(objects.labels[row])], corners, [None])
        predictions = [box for box in _rows(data, table, found) if _touch(box, missed)]
        more = f"{100 * share_N[row]:.1f} % of the image"
        with suppress(UserError):
            yield Example(_cut(data, image, predictions, [missed], corners), missed.name, more)


def _touch(box: Box, other: Box) -> bool:
    """True if two boxes have an area in common."""
    low = map(max, box.corners[:2], other.corners[:2])
    high = map(min, box.corners[2:], other.corners[2:])
    return all(first < last for first, last in zip(low, high, strict=True))


def _rows(data: DataSet, table: DetectionTable, rows: Sequence[int]) -> list[Box]:
    """Some rows of the detections in the form that the report draws."""
    index = np.array(rows, np.int64)
    scores = table.scores[index].tolist()
    return boxes(data.classes, table.labels[index].tolist(), table.boxes[index], scores)


def _cut(
    data: DataSet,
    image: int,
    predictions: Sequence[Box],
    truth: Sequence[Box],
    around_K4: npt.NDArray[np.float64],
) -> Picture:
    """The part of an image around some boxes.

    Raises:
        UserError: the image cannot be read.
    """
    record = data.records[image]
    picture = Picture(record.image_id, read_pixels(record), predictions, truth)
    low, high = around_K4[:, :2].min(0).tolist(), around_K4[:, 2:].max(0).tolist()
    return cut_out(picture, (*low, *high))
