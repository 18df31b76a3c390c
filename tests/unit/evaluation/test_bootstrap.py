"""Scores of data in which images occur several times, and the intervals that follow."""

import numpy as np
import pytest

from ssd.config import EvaluationConfig
from ssd.evaluation.bootstrap import MEAN, differences, interval, scores_of, tallies_of
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.measure import measure
from ssd.structures import DataSet
from tests.unit.evaluation.test_coco import record

METRICS = ["voc_area", "voc07", "coco"]
CLASSES = ("cat", "dog", "emu")
IMAGES = 12


def drawn_data(seed):
    """Images with up to four objects, some of them difficult; no emu counts."""
    draw = np.random.default_rng(seed)
    records = []
    for place in range(IMAGES):
        objects = int(draw.integers(0, 5))
        corners = draw.integers(0, 120, (objects, 2))
        boxes = np.concatenate([corners, corners + draw.integers(20, 80, (objects, 2))], 1)
        labels = draw.integers(1, 3, objects)
        difficult = draw.random(objects) < 0.2
        records.append(record(f"{place:03d}", boxes, labels, difficult))
    return DataSet(records, CLASSES, {})


def drawn_detections(data, seed):
    """Each object twice, a little off, and false ones; no two scores are equal."""
    draw = np.random.default_rng(seed)
    rows = []
    for place, one in enumerate(data.records):
        false = draw.integers(0, 60, (3, 4)) + [0, 0, 70, 70]
        boxes = np.concatenate([one.boxes, one.boxes, false])
        labels = np.concatenate([one.labels, one.labels, draw.integers(1, 4, 3)])
        off = boxes + draw.normal(0, 6, boxes.shape)
        rows += [
            (place, label, score, box)
            for label, score, box in zip(labels, draw.random(len(labels)), off, strict=True)
        ]
    images, labels, scores, boxes = zip(*rows, strict=True)
    return DetectionTable(*map(np.array, (images, labels, scores, boxes)))


def repeated(data, table, counts):
    """The same with image i `counts[i]` times, each copy an image with its own detections."""
    records, rows = [], [np.zeros(0, np.int64)]
    places = [np.zeros(0, np.int64)]
    for place, count in enumerate(counts):
        for copy in range(count):
            one = data.records[place]
            name = f"{one.image_id}-{copy:03d}"
            mine = np.flatnonzero(table.image_index == place)
            rows.append(mine)
            places.append(np.full(len(mine), len(records)))
            records.append(record(name, one.boxes, one.labels, one.difficult))
    kept = np.concatenate(rows)
    copies = DetectionTable(
        np.concatenate(places), table.labels[kept], table.scores[kept], table.boxes[kept]
    )
    return DataSet(records, CLASSES, {}), copies


def as_array(result):
    return np.array([result.mAP, *result.per_class.values()])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(6))
def test_weights_score_as_copies_of_the_images_do(metric, seed):
    data = drawn_data(seed)
    table = drawn_detections(data, 100 + seed)
    tallies = tallies_of(data, table, metric, 0.5)
    whole = as_array(measure(data, table, EvaluationConfig(metric)))
    np.testing.assert_allclose(scores_of(tallies, metric), whole, rtol=0, atol=1e-12)
    counts = np.random.default_rng(200 + seed).multinomial(IMAGES, [1 / IMAGES] * IMAGES)
    assert (counts > 1).any()
    assert (counts == 0).any()
    copied = as_array(measure(*repeated(data, table, counts), EvaluationConfig(metric)))
    found = scores_of(tallies, metric, counts.astype(float))
    np.testing.assert_allclose(found, copied, rtol=0, atol=1e-12)


def test_two_groups_are_judged_on_the_same_drawn_images():
    data = drawn_data(1)
    runs = [tallies_of(data, drawn_detections(data, seed), "voc_area", 0.5) for seed in range(3)]
    same = differences(([runs[0]], [runs[0]]), "voc_area", resamples=50)[MEAN]
    assert same[0] == same[1]
    assert (same[2].value, same[2].low, same[2].high) == (0, 0, 0)
    first, second, apart = differences((runs[:2], runs[2:]), "voc_area", resamples=50)[MEAN]
    scores = [scores_of(run, "voc_area")[0] for run in runs]
    assert first.value == pytest.approx((scores[0] + scores[1]) / 2)
    assert apart.value == pytest.approx(first.value - second.value)
    assert first.low < first.value < first.high
    assert np.isnan(differences((runs[:1], runs[2:]), "voc_area", 3)["emu"][0].low)


def test_an_interval_holds_the_middle_95_percent_and_no_nan():
    drawn = np.append(np.arange(1001) / 1000, np.nan)
    found = interval(0.4, drawn)
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.025, 0.975))
    assert found.is_apart
    assert not interval(0.0, drawn - 0.5).is_apart
