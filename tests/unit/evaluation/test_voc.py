import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.tally import average_precision
from ssd.evaluation.voc import evaluate_voc
from ssd.structures import Record

CLASSES = ["cat", "dog", "emu"]


def record(boxes=(), labels=(), difficult=()):
    return Record(
        image_id="an image",
        path=Path("an image.jpg"),
        width=8,
        height=8,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        difficult=np.array(difficult, dtype=np.bool_),
        crowd=np.zeros(len(labels), np.bool_),
    )


def table(rows):
    """A table of (image, label, score, box)."""
    images, labels, scores, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return DetectionTable(
        image_index=np.array(images, dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        scores=np.array(scores, dtype=np.float64),
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
    )


def naive_overlap(box, other):
    """IoU with the VOC kit's +1, in its 1-based inclusive corners."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = [[b[0] + 1, b[1] + 1, b[2], b[3]] for b in (box, other)]
    width = min(x2, u2) - max(x1, u1) + 1
    height = min(y2, v2) - max(y1, v1) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = (x2 - x1 + 1) * (y2 - y1 + 1) + (u2 - u1 + 1) * (v2 - v1 + 1)
    return width * height / (areas - width * height)


def naive_ap(records, rows, label, metric, threshold):
    """The VOC kit's loops, one detection at a time."""
    objects = sum(
        int(own == label and not hard)
        for r in records
        for own, hard in zip(r.labels, r.difficult, strict=True)
    )
    if objects == 0:
        return math.nan
    taken, true, false, points = set(), 0, 0, []
    for image, own, _, box in sorted(rows, key=lambda row: -row[2]):
        if own != label:
            continue
        truth = records[image]
        best, best_overlap = None, -math.inf
        for index in range(len(truth.boxes)):
            if truth.labels[index] == label:
                overlap = naive_overlap(box, truth.boxes[index].tolist())
                if overlap > best_overlap:
                    best, best_overlap = index, overlap
        if best_overlap >= threshold:
            if truth.difficult[best]:
                continue
            if (image, best) in taken:
                false += 1
            else:
                true += 1
                taken.add((image, best))
        else:
            false += 1
        points.append((true / objects, true / (true + false)))
    if metric == "voc07":
        return sum(max((p for r, p in points if r >= t * 0.1), default=0) for t in range(11)) / 11
    area, before = 0.0, 0.0
    for index, (recall, _) in enumerate(points):
        area += (recall - before) * max(p for _, p in points[index:])
        before = recall
    return area


corners = st.integers(0, 6)
boxes = st.builds(
    lambda x, y, w, h: (x, y, x + w, y + h), corners, corners, st.integers(1, 4), st.integers(1, 4)
)
labels = st.integers(1, 3)
images = st.lists(
    st.lists(st.tuples(boxes, labels, st.booleans()), max_size=5), min_size=1, max_size=4
)


@st.composite
def scenes(draw):
    objects = draw(images)
    records = [record(*zip(*image, strict=True)) if image else record() for image in objects]
    near = [
        st.tuples(st.just(index), st.just(label), st.sampled_from([0.2, 0.5, 0.9]), st.just(box))
        for index, image in enumerate(objects)
        for box, label, _ in image
    ]
    anywhere = st.tuples(
        st.integers(0, len(objects) - 1), labels, st.sampled_from([0.2, 0.5, 0.9]), boxes
    )
    return records, draw(st.lists(st.one_of(anywhere, *near), max_size=12))


@settings(deadline=None, max_examples=200)
@given(scenes(), st.sampled_from(["voc07", "voc_area"]), st.sampled_from([0.25, 0.5, 0.75]))
def test_equals_the_loops_of_the_voc_kit(scene, metric, threshold):
    records, rows = scene
    result = evaluate_voc(records, table(rows), CLASSES, metric, threshold)
    expected = [naive_ap(records, rows, label, metric, threshold) for label in (1, 2, 3)]
    assert list(result.per_class.values()) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert result.mAP == pytest.approx(
        np.mean([ap for ap in expected if not math.isnan(ap)] or [math.nan]), nan_ok=True
    )


def test_counts_and_curve_of_a_worked_example():
    # Two cats that count and a difficult one. Best first: a hit, its duplicate, a hit of the
    # difficult cat (left out), a miss, the other hit.
    truth = record([(0, 0, 4, 4), (4, 4, 8, 8), (0, 4, 4, 8)], [1, 1, 1], [False, False, True])
    rows = [
        (0, 1, 0.6, (0, 0, 1, 1)),
        (0, 1, 0.9, (0, 0, 4, 4)),
        (0, 1, 0.8, (0, 0, 4, 3)),
        (0, 1, 0.7, (0, 4, 4, 8)),
        (0, 1, 0.5, (4, 4, 8, 8)),
    ]
    result = evaluate_voc([truth, record()], table(rows), CLASSES, "voc_area", 0.5)
    recall, precision, scores = result.curves["cat"]
    assert recall.tolist() == [0.5, 0.5, 0.5, 1.0]
    assert precision.tolist() == [1, 1 / 2, 1 / 3, 2 / 4]
    assert scores.tolist() == [0.9, 0.8, 0.6, 0.5]
    assert result.per_class["cat"] == result.mAP == 0.75
    assert result.num_ground_truth == {"cat": 2, "dog": 0, "emu": 0}
    assert result.detections_per_class == {"cat": 5, "dog": 0, "emu": 0}
    assert (result.num_images, result.num_detections) == (2, 5)


def test_a_class_without_objects_that_count_is_left_out_of_the_mean():
    truth = record([(0, 0, 4, 4), (4, 4, 8, 8)], [1, 2], [False, True])
    rows = [(0, 1, 0.9, (0, 0, 4, 4)), (0, 2, 0.9, (4, 4, 8, 8)), (0, 3, 0.9, (0, 0, 1, 1))]
    result = evaluate_voc([truth], table(rows), CLASSES, "voc07", 0.5)
    assert result.per_class["cat"] == result.mAP == 1.0
    assert math.isnan(result.per_class["dog"])
    assert math.isnan(result.per_class["emu"])


def test_objects_never_found_have_ap_zero():
    result = evaluate_voc([record([(0, 0, 4, 4)], [1], [False])], table([]), CLASSES, "voc07", 0.5)
    assert result.per_class["cat"] == result.mAP == 0.0


def test_nothing_at_all_has_no_mean():
    assert math.isnan(evaluate_voc([], table([]), CLASSES, "voc_area", 0.5).mAP)


def test_an_overlap_of_exactly_the_threshold_is_a_hit():
    truth = record([(0, 0, 4, 4)], [1], [False])
    rows = [(0, 1, 0.9, (0, 0, 4, 2))]
    assert evaluate_voc([truth], table(rows), CLASSES, "voc_area", 0.5).mAP == 1.0
    assert evaluate_voc([truth], table(rows), CLASSES, "voc_area", 0.5000001).mAP == 0.0


def test_of_equal_scores_the_earlier_detection_comes_first():
    truth = record([(0, 0, 4, 4)], [1], [False])
    hit, miss = (0, 1, 0.5, (0, 0, 4, 4)), (0, 1, 0.5, (4, 4, 8, 8))
    assert evaluate_voc([truth], table([hit, miss]), CLASSES, "voc_area", 0.5).mAP == 1.0
    assert evaluate_voc([truth], table([miss, hit]), CLASSES, "voc_area", 0.5).mAP == 0.5


def test_boxes_without_area_overlap_nothing():
    truth = record([(2, 2, 2, 2)], [1], [False])
    rows = [(0, 1, 0.9, (2, 2, 2, 2)), (0, 1, 0.8, (4, 4, 2, 2))]
    assert evaluate_voc([truth], table(rows), CLASSES, "voc_area", 0.5).mAP == 0.0


def test_area_and_eleven_points_of_a_known_curve():
    recall, precision = np.array([0.25, 0.25, 0.5]), np.array([1.0, 0.5, 2 / 3])
    assert average_precision(recall, precision, "voc_area") == pytest.approx(0.25 + 0.25 * 2 / 3)
    assert average_precision(recall, precision, "voc07") == pytest.approx((3 + 3 * 2 / 3) / 11)
