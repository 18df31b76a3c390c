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
from ssd.evaluation.tally import Tally, average_precision, curve_of, mean_of
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
    tallies = tally_voc(ground_truth, detections, classes, iou_threshold)
    found = np.bincount(detections.labels, minlength=len(classes) + 1)[1:].tolist()
    per_class, curves, num_ground_truth = {}, {}, {}
    for name, tally in zip(classes, tallies, strict=True):
        recall, precision = curve_of(tally)
        objects = int(tally.objects.sum())
        per_class[name] = average_precision(recall, precision, metric) if objects else np.nan
        curves[name] = (recall, precision, tally.scores)
        num_ground_truth[name] = objects
    return EvaluationResult(
        mAP=mean_of(per_class.values()),
        per_class=per_class,
        curves=curves,
        num_ground_truth=num_ground_truth,
        detections_per_class=dict(zip(classes, found, strict=True)),
        num_images=len(ground_truth),
        num_detections=len(detections),
    )


def tally_voc(
    ground_truth: Sequence[Record],
    detections: DetectionTable,
    classes: Sequence[str],
    iou_threshold: float,
) -> list[Tally]:
    """The detections of each class, judged; arguments as of `evaluate_voc`."""
    truth = _collect(ground_truth, len(classes))
    best_first = np.argsort(-detections.scores, kind="stable")
    labels_D, scores_D = detections.labels[best_first], detections.scores[best_first]
    image_D = detections.image_index[best_first]
    group_D = _group(image_D, labels_D, len(classes))
    hit_D = _hits(group_D, detections.boxes[best_first], truth, iou_threshold)
    counts_D = ~np.append(truth.difficult, False)[hit_D]  # a miss, index -1, counts
    positive_D = counts_D & _first_occurrences(hit_D)

    tallies = []
    for label in range(1, len(classes) + 1):
        mine = np.flatnonzero((labels_D == label) & counts_D)
        own = truth.image[(truth.labels == label) & ~truth.difficult]
        objects_I = np.bincount(own, minlength=len(ground_truth))
        tallies.append(Tally(image_D[mine], positive_D[mine], scores_D[mine], objects_I))
    return tallies


@dataclass(frozen=True)
class _Truth:
    """The ground truth of all images, sorted by group; each group in annotation order."""

    group: Ints
    image: Ints
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
    return _Truth(
        group_N[order], image_N[order], boxes_N4[order], labels_N[order], difficult_N[order]
    )


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
