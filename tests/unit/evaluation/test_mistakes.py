"""Judged detections against a naive loop over the rules, and against VOC's own counts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd.evaluation.at_score import best_f1, calibration, confusion, count_kinds, count_missed
from ssd.evaluation.by_size import SIZES, ap_in_range, results_by_size
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.mistakes import KIND_NAMES, RIGHT, UNCOUNTED, judge_detections
from ssd.evaluation.tally import average_precision
from ssd.evaluation.voc import evaluate_voc
from ssd.structures import Record

CLASSES = ("cat", "dog", "emu")


def record(objects):
    """An image of (box, label, mark) with mark None, "difficult" or "crowd"."""
    marks = [mark for _, _, mark in objects]
    return Record(
        image_id="a",
        path=Path("a.jpg"),
        width=100,
        height=50,
        boxes=np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4),
        labels=np.array([label for _, label, _ in objects], np.int64),
        difficult=np.array([mark == "difficult" for mark in marks], np.bool_),
        crowd=np.array([mark == "crowd" for mark in marks], np.bool_),
    )


def table(rows):
    """Detections of (image, label, score, box)."""
    images, labels, scores, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return DetectionTable(
        np.array(images, np.int64),
        np.array(labels, np.int64),
        np.array(scores, np.float64),
        np.array(boxes, np.float64).reshape(-1, 4),
    )


def area(box):
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def common(a, b):
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a, b):
    union = area(a) + area(b) - common(a, b)
    return common(a, b) / union if union > 0 else 0.0


def naive_kinds(images, rows, right_iou):
    """(kind, (image, place of its object) or None) of every row, by one loop over the rules."""
    told, taken = [None] * len(rows), set()
    for index in sorted(range(len(rows)), key=lambda index: -rows[index][2]):
        image, label, _, box = rows[index]
        best = {"own": (0.0, None), "other": (0.0, None), "crowd": (0.0, None)}
        for place, (other, other_label, mark) in enumerate(images[image]):
            if other_label == label and mark == "crowd":
                which, overlap = "crowd", common(box, other) / area(box) if area(box) else 0.0
            elif other_label == label:
                which, overlap = "own", iou(box, other)
            elif mark is None:
                which, overlap = "other", iou(box, other)
            else:
                continue
            if overlap > best[which][0]:
                best[which] = overlap, place
        overlap, place = best["own"]
        if overlap >= right_iou:
            if images[image][place][2] == "difficult":
                kind = "uncounted"
            else:
                kind = "duplicate" if (image, place) in taken else "right"
                taken.add((image, place))
        elif best["crowd"][0] >= right_iou:
            kind, place = "uncounted", best["crowd"][1]
        elif best["other"][0] >= right_iou:
            kind, place = "wrong class", best["other"][1]
        elif overlap >= 0.1:
            kind = "poor box"
        else:
            kind, place = "background", None
        told[index] = kind, None if place is None else (image, place)
    return told


corners = st.integers(0, 6)
boxes = st.builds(
    lambda x, y, w, h: (x, y, x + w, y + h), corners, corners, st.integers(0, 5), st.integers(1, 5)
)
labels = st.integers(1, 3)
marks = st.sampled_from([None, None, None, "difficult", "crowd"])
scores = st.sampled_from([0.2, 0.5, 0.55, 0.9, 1.0])


@st.composite
def scenes(draw, marks=marks):
    objects = st.lists(st.tuples(boxes, labels, marks), max_size=5)
    images = draw(st.lists(objects, min_size=1, max_size=4))
    near = [
        st.tuples(st.just(index), labels, scores, st.just(box))
        for index, image in enumerate(images)
        for box, _, _ in image
    ]
    anywhere = st.tuples(st.integers(0, len(images) - 1), labels, scores, boxes)
    return images, draw(st.lists(st.one_of(anywhere, *near), max_size=14))


def judged_scene(scene, right_iou=0.5):
    images, rows = scene
    return judge_detections([record(image) for image in images], table(rows), right_iou)


@settings(deadline=None, max_examples=300)
@given(scenes(), st.sampled_from([0.05, 0.25, 0.5, 0.75]))
def test_kinds_equal_a_naive_loop(scene, right_iou):
    images, rows = scene
    judged = judged_scene(scene, right_iou)
    firsts = np.cumsum([0, *map(len, images)]).tolist()
    places = [(image, place) for image, each in enumerate(images) for place in range(len(each))]
    told = [
        (KIND_NAMES[kind], None if row < 0 else places[row])
        for kind, row in zip(judged.kinds.tolist(), judged.object_of.tolist(), strict=True)
    ]
    assert told == naive_kinds(images, rows, right_iou)
    assert judged.objects.image_index.tolist() == [image for image, _ in places]
    for (image, _, _, box), kind, row, overlap in zip(
        rows, judged.kinds, judged.object_of, judged.overlaps, strict=True
    ):
        other, _, mark = images[image][row - firsts[image]] if row >= 0 else ((0, 0, 0, 0), 0, None)
        in_crowd = mark == "crowd" and kind == UNCOUNTED
        expected = common(box, other) / area(box) if in_crowd else iou(box, other)
        assert overlap == pytest.approx(expected if row >= 0 else 0)


@settings(deadline=None)
@given(scenes(st.sampled_from([None, "difficult"])), st.sampled_from([0.25, 0.5]))
def test_what_is_right_and_counted_is_that_of_vocs_metric(scene, threshold):
    images, rows = scene
    records, found = [record(image) for image in images], table(rows)
    kinds = count_kinds(judge_detections(records, found, threshold), 0.0, 3)
    voc = evaluate_voc(records, found, CLASSES, "voc_area", threshold)
    for index, name in enumerate(CLASSES):
        recall, precision, _ = voc.curves[name]
        assert kinds[index, :UNCOUNTED].sum() == len(precision)
        if len(precision):
            assert kinds[index, RIGHT] == round(precision[-1] * len(precision))


@settings(deadline=None)
@given(scenes(), scores)
def test_every_object_and_every_detection_is_counted_once(scene, score):
    images, rows = scene
    judged = judged_scene(scene)
    kinds, missed = count_kinds(judged, score, 3), count_missed(judged, score, 3)
    matrix = confusion(judged, score, 3)
    told = naive_kinds(images, rows, 0.5)
    for label in (1, 2, 3):
        objects = [
            (image, place)
            for image, each in enumerate(images)
            for place, (_, own, mark) in enumerate(each)
            if own == label and mark is None
        ]
        kept = [
            (kind, place)
            for (kind, place), row in zip(told, rows, strict=True)
            if row[1] == label and row[2] >= score
        ]
        hit = {place for kind, place in kept if kind == "right"}
        assert kinds[label - 1].tolist() == [
            sum(kind == name for kind, _ in kept) for name in KIND_NAMES
        ]
        assert missed[label - 1] == len(set(objects) - hit)
        assert matrix[label - 1].sum() == len(objects)
        assert matrix[:, label - 1].sum() == sum(kind != "uncounted" for kind, _ in kept)
        assert matrix[label - 1, label - 1] == len(hit)
    assert matrix[3, 3] == 0


def test_an_object_is_confused_with_the_most_confident_wrong_class():
    box, far = (0, 0, 10, 10), (50, 0, 60, 10)
    images = [[(box, 1, None), (far, 2, None)]]
    rows = [(0, 2, 0.6, box), (0, 3, 0.8, box), (0, 2, 0.9, far), (0, 1, 0.95, far)]
    judged = judged_scene((images, rows))
    # The cat is seen as an emu; the dog is found, so that the cat on it and the dog on the cat
    # are on no object of their own.
    expected = [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert confusion(judged, 0.5, 3).tolist() == expected
    assert confusion(judged, 0.7, 3)[:, 1].tolist() == [0, 1, 0, 0]
    assert confusion(judged, 0.99, 3)[:, 3].tolist() == [1, 1, 0, 0]


@settings(deadline=None)
@given(scenes())
def test_the_chosen_score_has_the_best_f1(scene):
    judged = judged_scene(scene)
    rows = [(s, k) for s, k in zip(judged.table.scores, judged.kinds, strict=True) if k != 5]
    objects = int(judged.objects.counted.sum())
    tried = {}
    for score in {score for score, _ in rows}:
        kept = [kind for other, kind in rows if other >= score]
        right = kept.count(RIGHT)
        tried[score] = 2 * right / (len(kept) + objects), right / len(kept), right
    chosen = best_f1(judged)
    best = max((f1 for f1, _, _ in tried.values()), default=0)
    assert chosen.f1 == pytest.approx(best)
    if best == 0:
        assert chosen.score == 0.5
        return
    score = max(score for score, (f1, _, _) in tried.items() if f1 == best)
    assert chosen.score == score
    assert chosen.precision == pytest.approx(tried[score][1])
    assert chosen.recall == pytest.approx(tried[score][2] / objects)


def test_without_detections_or_objects_nothing_is_right():
    nothing = judged_scene(([[]], []))
    assert np.isnan([best_f1(nothing).precision, best_f1(nothing).recall]).all()
    missing = judged_scene(([[((0, 0, 5, 5), 1, None)]], []))
    assert (best_f1(missing).recall, best_f1(missing).f1) == (0, 0)
    assert missing.missed(0.5).tolist() == [True]
    assert all(np.isnan(one.AP) for one in results_by_size(nothing, 0.5, "voc07", None).values())


@settings(deadline=None)
@given(scenes())
def test_calibration_equals_a_loop(scene):
    judged = judged_scene(scene)
    mean, precision, count = calibration(judged)
    pairs = [(s, k) for s, k in zip(judged.table.scores, judged.kinds, strict=True) if k != 5]
    for index in range(10):
        low, high = index / 10, (index + 1) / 10 if index < 9 else 1.01
        own = [(score, kind == RIGHT) for score, kind in pairs if low <= score < high]
        assert count[index] == len(own)
        expected = np.mean(own, axis=0) if own else (np.nan, np.nan)
        np.testing.assert_allclose((mean[index], precision[index]), expected)


def test_scores_that_are_no_probabilities_are_not_calibrated():
    judged = judged_scene(([[((0, 0, 5, 5), 1, None)]], [(0, 1, 7.5, (0, 0, 5, 5))]))
    assert [len(each) for each in calibration(judged)] == [0, 0, 0]


def naive_ap(images, rows, low, high, label):
    """AP by COCO's rules for a range of areas: a loop over the detections of a class."""
    told = naive_kinds(images, rows, 0.5)

    def fits(box, mark):
        return mark is None and low <= area(box) < high

    objects = sum(fits(box, mark) for each in images for box, own, mark in each if own == label)
    points, right, taken = [], 0, 0
    for index in sorted(range(len(rows)), key=lambda index: -rows[index][2]):
        kind, place = told[index]
        if rows[index][1] != label or kind == "uncounted":
            continue
        if kind in ("right", "duplicate"):
            box, _, mark = images[place[0]][place[1]]
            counts = fits(box, mark)
        else:
            counts = low <= area(rows[index][3]) < high
        if counts:
            right, taken = right + (kind == "right"), taken + 1
            points.append((right / objects if objects else np.nan, right / taken))
    curve = np.array(points).reshape(-1, 2)
    return average_precision(curve[:, 0], curve[:, 1], "voc_area") if objects else np.nan


@settings(deadline=None)
@given(scenes(), st.sampled_from([(0, 7), (7, 13), (13, 1e9), (0, 1e9)]))
def test_ap_by_size_equals_a_loop(scene, limits):
    images, rows = scene
    judged = judged_scene(scene)
    low, high = limits
    areas = judged.objects.areas
    in_range = judged.objects.counted & (areas >= low) & (areas < high)
    each = [naive_ap(images, rows, low, high, label) for label in (1, 2, 3)]
    expected = np.nanmean(each) if not np.isnan(each).all() else np.nan
    AP = ap_in_range(judged, in_range, low, high, "voc_area")
    np.testing.assert_allclose(AP, expected)


@settings(deadline=None)
@given(scenes(st.sampled_from([None, "difficult"])), st.sampled_from(["voc07", "voc_area"]))
def test_ap_of_all_sizes_is_that_of_the_metric(scene, metric):
    images, rows = scene
    whole = evaluate_voc([record(each) for each in images], table(rows), CLASSES, metric, 0.5)
    judged = judged_scene(scene)
    AP = ap_in_range(judged, judged.objects.counted, 0, np.inf, metric)
    np.testing.assert_allclose(AP, whole.mAP)


def test_sizes_have_cocos_limits():
    sides = {"small": [1, 31.9], "medium": [32, 95.9], "large": [96, 100]}
    objects = [((0, 0, side, side), 1, None) for each in sides.values() for side in each]
    rows = [(0, 1, 0.9, (0, 0, 96, 96)), (0, 1, 0.3, (0, 0, 1, 1))]
    results = results_by_size(judged_scene(([objects], rows)), 0.5, "voc07", None)
    assert [(name, one.objects, one.found) for name, one in results.items()] == [
        ("small", 2, 0),
        ("medium", 2, 0),
        ("large", 2, 1),
    ]
    assert list(results) == list(SIZES)
    figures = {"APs": 0.1, "APm": 0.2, "APl": 0.3}
    told = results_by_size(judged_scene(([objects], rows)), 0.5, "coco", figures)
    assert [one.AP for one in told.values()] == [0.1, 0.2, 0.3]
