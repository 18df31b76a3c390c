"""Average precision as in Pascal VOC, over all images and classes at once.

Every detection, best first, is matched with the object of its class in its image that it overlaps
most, even if an earlier one is matched with it too. If the overlap is large enough, it is a hit:
the first hit of an object is a true positive, later ones are false positives, and hits of
`difficult` objects (and of COCO's crowds) do not count. Since no match depends on an earlier one,
detections need not be processed in sequence. Source: the VOC development kit, `VOCevaldet.m` and
`VOCap.m`.

Letters: `D` detections, best first, `N` ground-truth boxes of all images, sorted by group (the
boxes of one class in one image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssd.config import Metric
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.result import EvaluationResult, Floats
from ssd.structures import Record

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def evaluate_voc(
    ground_truth: Sequence[Record],
    detections: DetectionTable,
    classes: Sequence[str],
    metric: Metric,
    iou_threshold: float,
) -> EvaluationResult:
    """AP of every class and its mean.

    The overlaps equal those of the VOC kit with its +1, since boxes are half-open here. As in
    the kit, an overlap of exactly `iou_threshold` is a hit. Detections of equal score keep their
    order. A class without an object that counts has an AP of NaN and is left out of the mean.

    Args:
        ground_truth: the images; `detections.image_index` is a position in this sequence.
        detections: in any order.
        classes: names of the classes, from label 1 on.
        metric: `voc07` or `voc_area`.
        iou_threshold: smallest overlap that makes a detection a hit.
    """
    truth = _collect(ground_truth, len(classes))
    best_first = np.argsort(-detections.scores, kind="stable")
    labels_D, scores_D = detections.labels[best_first], detections.scores[best_first]
    group_D = _group(detections.image_index[best_first], labels_D, len(classes))
    hit_D = _hits(group_D, detections.boxes[best_first], truth, iou_threshold)
    counts_D = ~np.append(truth.difficult, False)[hit_D]  # a miss, index -1, counts
    positive_D = counts_D & _first_occurrences(hit_D)

    per_class, curves, num_ground_truth, per_class_detections = {}, {}, {}, {}
    for label, name in enumerate(classes, start=1):
        objects = int(np.sum((truth.labels == label) & ~truth.difficult))
        mine = np.flatnonzero((labels_D == label) & counts_D)
        true_positives = np.cumsum(positive_D[mine])
        recall = true_positives / (objects or np.nan)
        precision = true_positives / np.arange(1, len(mine) + 1)
        per_class[name] = average_precision(recall, precision, metric) if objects else np.nan
        curves[name] = (recall, precision, scores_D[mine])
        num_ground_truth[name] = objects
        per_class_detections[name] = int(np.sum(labels_D == label))
    return EvaluationResult(
        mAP=_mean([ap for ap in per_class.values() if not np.isnan(ap)]),
        per_class=per_class,
        curves=curves,
        num_ground_truth=num_ground_truth,
        detections_per_class=per_class_detections,
        num_images=len(ground_truth),
        num_detections=len(detections),
    )


def average_precision(recall: Floats, precision: Floats, metric: Metric) -> float:
    """AP, 0 … 1, of recall and precision [D] after each detection, best first.

    `voc07`: mean of the best precision at recalls of at least 0, 0.1, … 1 (0 if a recall is never
    reached). `voc_area`: area under the best precision at each recall or a higher one.
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if metric == "voc07":
        eleven = np.searchsorted(recall, np.arange(11) * 0.1)
        return float(np.append(envelope, 0.0)[eleven].mean())
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else np.nan


@dataclass(frozen=True)
class _Truth:
    """The ground truth of all images, sorted by group; each group in annotation order."""

    group: Ints
    boxes: Floats
    labels: Ints
    difficult: Bools


def _collect(ground_truth: Sequence[Record], num_classes: int) -> _Truth:
    sizes = [len(record.boxes) for record in ground_truth]
    image_N = np.repeat(np.arange(len(ground_truth)), sizes)
    labels_N = np.concatenate([np.empty(0, np.int64), *(r.labels for r in ground_truth)])
    boxes_N4 = np.concatenate([np.empty((0, 4)), *(r.boxes for r in ground_truth)])
    uncounted = (r.difficult | r.crowd for r in ground_truth)
    difficult_N = np.concatenate([np.empty(0, np.bool_), *uncounted])
    group_N = _group(image_N, labels_N, num_classes)
    order = np.argsort(group_N, kind="stable")
    return _Truth(group_N[order], boxes_N4[order], labels_N[order], difficult_N[order])


def _group(image: Ints, labels: Ints, num_classes: int) -> Ints:
    """One number for each pair of an image and a class."""
    return image * (num_classes + 1) + labels


def _hits(group_D: Ints, boxes_D4: Floats, truth: _Truth, iou_threshold: float) -> Ints:
    """Index [D] in `truth` of the object that each detection hits, or -1.

    The detections of all groups are compared with the first object of their group, then with
    the second, and so on; an equal overlap does not displace an earlier one.
    """
    first_D = np.searchsorted(truth.group, group_D, side="left")
    size_D = np.searchsorted(truth.group, group_D, side="right") - first_D
    best_D = np.full(len(group_D), -1)
    best_iou_D = np.zeros(len(group_D))
    for nth in range(size_D.max(initial=0)):
        rows = np.flatnonzero(size_D > nth)
        objects = first_D[rows] + nth
        iou = _iou(boxes_D4[rows], truth.boxes[objects])
        better = iou > best_iou_D[rows]
        best_D[rows[better]] = objects[better]
        best_iou_D[rows[better]] = iou[better]
    return np.where(best_iou_D >= iou_threshold, best_D, -1)


def _iou(boxes: Floats, others: Floats) -> Floats:
    """Pairwise intersection over union [K] of boxes and others [K, 4]; 0 where both are empty."""
    corner = np.maximum(boxes[:, :2], others[:, :2])
    inter = _area(np.concatenate([corner, np.minimum(boxes[:, 2:], others[:, 2:])], axis=1))
    union = _area(boxes) + _area(others) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def _area(boxes: Floats) -> Floats:
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1))


def _first_occurrences(hit_D: Ints) -> Bools:
    """Mask [D] of the detections that are the first to hit their object."""
    first = np.zeros(len(hit_D), np.bool_)
    objects, rows = np.unique(hit_D, return_index=True)
    first[rows[objects >= 0]] = True
    return first
