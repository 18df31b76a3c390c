"""Statistics equal naive loops."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ssd.doctor import statistics
from ssd.doctor.statistics import count, describe, objects_of, quantiles, unmatched
from ssd.structures import Record

CLASSES = ("a", "b", "c")


def random_records(rng, count):
    records = []
    for number in range(count):
        width, height = rng.integers(20, 400, 2).tolist()
        objects = number % 5
        start = rng.uniform(0, 0.6, (objects, 2))
        ends = start + rng.uniform(0.01, 0.4, (objects, 2))
        boxes = np.concatenate([start, ends], 1) * ([width, height] * 2)
        flags = rng.random((2, objects)) < 0.2
        labels = rng.integers(1, 3, objects)  # never a "c"
        path = Path(f"{number}.jpg")
        boxes = boxes.astype(np.float32)
        records.append(Record(path.stem, path, width, height, boxes, labels, *flags))
    return records


def rows_of(records, train_difficult):
    """(image, label, relative box) of every object that counts."""
    return [
        (image, label, [v / s for v, s in zip(box, [r.width, r.height] * 2, strict=True)])
        for image, r in enumerate(records)
        for label, box, hard, crowd in zip(
            r.labels.tolist(), r.boxes.tolist(), r.difficult, r.crowd, strict=True
        )
        if not crowd and (train_difficult or not hard)
    ]


def naive_iou(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("train_difficult", [True, False])
def test_objects_equal_a_naive_loop(train_difficult):
    records = random_records(np.random.default_rng(1), 40)
    objects, rows = objects_of(records, train_difficult), rows_of(records, train_difficult)
    assert objects.image_index.tolist() == [image for image, _, _ in rows]
    assert objects.labels.tolist() == [label for _, label, _ in rows]
    np.testing.assert_allclose(objects.boxes, [box for _, _, box in rows], rtol=1e-5)
    sides = [(b[2] - b[0], b[3] - b[1]) for _, _, b in rows]
    sizes = [300 * math.sqrt(w * h) for w, h in sides]
    np.testing.assert_allclose(objects.sizes(300), sizes, rtol=1e-4)
    np.testing.assert_allclose(objects.aspect_ratios(300), [w / h for w, h in sides], rtol=1e-4)
    sides = [(160 * w, 96 * h) for w, h in sides]
    sizes = [math.sqrt(w * h) for w, h in sides]
    np.testing.assert_allclose(objects.sizes([96, 160]), sizes, rtol=1e-4)
    ratios = objects.aspect_ratios([96, 160])
    np.testing.assert_allclose(ratios, [w / h for w, h in sides], rtol=1e-4)


@pytest.mark.parametrize("at_a_time", [1, 700, 1 << 20])
def test_unmatched_equals_a_naive_loop(monkeypatch, at_a_time):
    monkeypatch.setattr(statistics, "OVERLAPS_AT_A_TIME", at_a_time)
    rng = np.random.default_rng(2)
    boxes = objects_of(random_records(rng, 60), train_difficult=True).boxes
    defaults = rng.uniform(0.05, 0.5, (50, 4))
    defaults[:, :2] = rng.random((50, 2))
    corners = [[x - w / 2, y - h / 2, x + w / 2, y + h / 2] for x, y, w, h in defaults.tolist()]
    for match_iou in (0.1, 0.2, 0.4):
        naive = [max(naive_iou(b, d) for d in corners) < match_iou for b in boxes.tolist()]
        found = unmatched(boxes, torch.from_numpy(defaults).float(), match_iou)
        assert found.tolist() == naive
        assert 0 < sum(naive) < len(naive)


def test_tables_equal_naive_counts():
    rng = np.random.default_rng(3)
    train, evaluation = random_records(rng, 60), random_records(rng, 20)
    train_objects, eval_objects = objects_of(train, True), objects_of(evaluation, True)
    alone = rng.random(len(train_objects.labels)) < 0.3
    table = describe(train_objects, eval_objects, CLASSES, alone, 300)
    sizes = train_objects.sizes(300)
    bounds = {"small": (0, 32), "medium": (32, 96), "large": (96, math.inf)}
    for label, row in enumerate(table.classes, start=1):
        own, eval_own = (
            [image for image, other, _ in rows_of(records, True) if other == label]
            for records in (train, evaluation)
        )
        assert row.name == CLASSES[label - 1]
        assert (row.objects, row.images) == (len(own), len(set(own)))
        assert (row.eval_objects, row.eval_images) == (len(eval_own), len(set(eval_own)))
        for size in row.by_size:
            low, high = bounds[size.name]
            inside = [low <= s < high for s in sizes]
            those = [i for i, yes in enumerate(inside) if yes and train_objects.labels[i] == label]
            assert (size.objects, size.unmatched) == (len(those), int(alone[those].sum()))
    for whole, *parts in zip(table.sizes, *(row.by_size for row in table.classes), strict=True):
        assert whole.objects == sum(part.objects for part in parts)
        assert whole.unmatched == sum(part.unmatched for part in parts)


def test_bounds_of_the_sizes_belong_to_the_larger_one():
    sizes = np.array([31.99, 32, 95.99, 96], np.float32)
    rows = statistics.size_rows(sizes, np.array([True, False, True, True]))
    assert [(row.objects, row.unmatched) for row in rows] == [(1, 1), (2, 1), (1, 1)]


def test_quantiles():
    assert quantiles(np.arange(101)) == {0: 0, 5: 5, 25: 25, 50: 50, 75: 75, 95: 95, 100: 100}
    assert quantiles(np.array([])) == {}


def test_nothing_at_all():
    nothing = objects_of([], True)
    table = describe(
        nothing, nothing, CLASSES, unmatched(nothing.boxes, torch.rand(9, 4), 0.5), 300
    )
    assert all(row.objects == row.images == 0 for row in table.classes)
    assert [column.tolist() for column in count(nothing, 3)] == [[0, 0, 0]] * 2
