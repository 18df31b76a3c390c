"""Detections of a data set → EvaluationResult, by the metric of the config."""

from __future__ import annotations

from dataclasses import replace

from ssd.config import EvaluationConfig
from ssd.evaluation.coco import evaluate_coco
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.result import EvaluationResult
from ssd.evaluation.voc import evaluate_voc
from ssd.structures import DataSet


def measure(
    data: DataSet, detections: DetectionTable, config: EvaluationConfig
) -> EvaluationResult:
    """Evaluates the detections in the images of `data` by the metric of `config`."""
    match config.metric:
        case "coco":
            result = evaluate_coco(data, detections, config.coco_evaluator)
        case metric:
            threshold = config.iou_threshold
            result = evaluate_voc(data.records, detections, data.classes, metric, threshold)
    return replace(result, images_left_out=len(data.unusable))
