"""Detections that rounding alone exchanges, found by a naive suppression as the oracle."""

import numpy as np
import pytest

from ssd.config import EvaluationConfig
from ssd.deploy.compare import Difference, same_objects
from ssd.deploy.runtime import Objects
from ssd.deploy.ties import BOX_BOUND, SCORE_BOUND, Candidates, without

CLASSES = 4
SETTINGS = {
    "default": EvaluationConfig(),
    "few": EvaluationConfig(top_k=20, max_detections=15),
    "threshold": EvaluationConfig(score_threshold=0.25),
}


def iou(one, other):
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    areas = [np.prod(each[2:] - each[:2]) for each in (one, other)]
    return np.prod(sides) / (sum(areas) - np.prod(sides))


def naive(boxes, scores, config):
    """The definition of the suppression, in a loop."""
    kept = []
    for label in range(1, CLASSES):
        order = np.argsort(-scores[:, label], kind="stable")[: config.top_k]
        mine = []
        for place in order:
            high = scores[place, label] > config.score_threshold
            if high and all(iou(boxes[place], boxes[each]) <= config.nms_iou for each in mine):
                mine.append(place)
        kept += [(scores[place, label], place, label) for place in mine]
    kept = sorted(kept, key=lambda each: -each[0])[: config.max_detections]
    places, labels = (np.array([each[i] for each in kept], np.int64) for i in (1, 2))
    return Objects(boxes[places], scores[places, labels], labels)


def drawn(seed, config):
    """Candidates whose scores have many equal ones, as those of an untrained network."""
    rng = np.random.default_rng(seed)
    corners, sides = rng.uniform(0, 60, (80, 2)), rng.uniform(10, 50, (80, 2))
    boxes = np.concatenate([corners, corners + sides], 1).astype(np.float32)
    scores = (0.25 + 0.01 * rng.integers(-1, 2, (80, CLASSES))).astype(np.float32)
    return rng, Candidates(boxes, scores, config)


@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
def test_all_that_rounding_exchanges_is_explained(config):
    exchanged = 0
    for seed in range(20):
        rng, candidates = drawn(seed, config)
        rounded = candidates.scores + rng.uniform(-4e-5, 4e-5, (80, CLASSES)).astype(np.float32)
        wanted = naive(candidates.boxes, candidates.scores, config)
        found = naive(candidates.boxes, rounded, config)
        pairs = same_objects(wanted, found)
        left = without(wanted, [one for one, _ in pairs])
        new = without(found, [other for _, other in pairs])
        assert candidates.may_miss(left, found).all()
        assert candidates.may_add(new, found).all()
        exchanged += len(left.scores)
    assert exchanged > 50


def test_what_is_wrong_is_not_explained():
    tried = 0
    for seed in range(20):
        _, candidates = drawn(seed, EvaluationConfig())
        wanted = naive(candidates.boxes, candidates.scores, candidates.config)
        for place in range(len(wanted.scores)):
            one = Objects(*(each[place : place + 1] for each in wanted))
            others = without(wanted, [place])
            mine = others.boxes[others.labels == one.labels]
            if max(iou(one.boxes[0], each) for each in mine) > 0.44:
                continue  # it may be suppressed
            tried += 1
            assert not candidates.may_miss(one, others).any()  # left out
            assert candidates.may_add(one, wanted).all()
            moved = one._replace(boxes=one.boxes + 2 * BOX_BOUND)
            surer = one._replace(scores=one.scores + 2 * SCORE_BOUND)
            other = one._replace(labels=one.labels % (CLASSES - 1) + 1)
            other = other._replace(scores=other.scores + 0.1)
            for wrong in (moved, surer, other):
                assert not candidates.may_add(wrong, wrong).any()
    assert tried > 200
    kept = {(*box, label) for box, label in zip(wanted.boxes.tolist(), wanted.labels, strict=True)}
    dropped = [
        Objects(box[None], score[None], np.array([label]))
        for box, scores in zip(candidates.boxes, candidates.scores, strict=True)
        for label, score in enumerate(scores)
        if label and (*box.tolist(), label) not in kept
        if max(iou(box, each) for each in wanted.boxes[wanted.labels == label]) > 0.5
    ]
    assert len(dropped) > 50
    for one in dropped:  # not suppressed
        found = Objects(*(np.concatenate(each) for each in zip(wanted, one, strict=True)))
        assert not candidates.may_add(one, found).any()


def test_what_is_explained_does_not_count():
    assert Difference(3, 0, 0, 500, 306, by_rounding=301).is_small
    assert not Difference(3, 0, 0, 500, 307, by_rounding=301).is_small
    told = str(Difference(3, 0, 0, 500, 306, by_rounding=301))
    assert told.endswith(
        "306 of 500 detections changed, 301 of them at scores that are equal but for rounding"
    )
