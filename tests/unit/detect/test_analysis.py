import numpy as np
import pytest

from ssd.config import EvaluationConfig
from ssd.config.settings import to_config
from ssd.data.source import load_data
from ssd.detect.analysis import SHOWN_EXAMPLES, analyse
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.measure import measure

CAT, DOG = 1, 2


@pytest.fixture
def data(voc):
    """Three images of 100 × 80 pixels; VOC's corners count from 1 and are inclusive."""
    objects = {
        "a": [("cat", (1, 1, 20, 20)), ("dog", (41, 1, 60, 20))],
        "b": [("cat", (1, 1, 50, 40)), ("dog", (61, 41, 100, 80))],
        "c": [("dog", (1, 1, 10, 10))],
    }
    for stem, listed in objects.items():
        voc.image(stem, 100, 80)
        voc.annotation(stem, listed, 100, 80)
    voc.split("test", list(objects))
    settings = {"data": {"format": "voc", "root": str(voc.root), "eval_split": "test"}}
    return load_data(to_config(settings).data, "test", None)


FOUND = [  # image, label, score, box
    (0, CAT, 0.9, (0, 0, 20, 20)),
    (0, DOG, 0.85, (0, 0, 20, 20)),
    (0, CAT, 0.8, (0, 0, 20, 18)),
    (1, DOG, 0.7, (50, 40, 80, 60)),
    (1, CAT, 0.75, (60, 0, 80, 20)),
    (2, DOG, 0.95, (0, 0, 10, 10)),
]
OTHERS = [  # the objects that those do not find
    (0, DOG, 0.7, (40, 0, 60, 20)),
    (1, CAT, 0.7, (0, 0, 50, 40)),
    (1, DOG, 0.7, (60, 40, 100, 80)),
]


def table(rows):
    images, labels, scores, boxes = map(np.array, zip(*rows, strict=True))
    return DetectionTable(images, labels, scores, boxes.astype(float))


def analysed(data, rows, **settings):
    config = EvaluationConfig(metric="voc_area", **settings)
    found = table(rows)
    return analyse(data, found, measure(data, found, config), config)


def test_the_most_confident_mistakes_come_first(data):
    low = analysed(data, [*FOUND, *OTHERS])
    assert low.at.score == 0.7
    assert [(each.text, each.more, each.picture.name) for each in low.mistakes] == [
        ("wrong class: dog 0.85", "overlap 1.00 with cat", "a"),
        ("duplicate: cat 0.80", "overlap 0.90 with cat", "a"),
        ("background: cat 0.75", "on no object of its class", "b"),
        ("poor box: dog 0.70", "overlap 0.22 with dog", "b"),
    ]
    duplicate = low.mistakes[1].picture.predictions
    assert [box.score for box in duplicate] == [0.8, 0.9]
    named = {(box.name, round(box.corners[0])) for box in low.mistakes[0].picture.ground_truth}
    assert ("cat", 0) in named
    assert all(name == "" for name, left in named if left)


def test_the_largest_misses_come_first(data):
    found = analysed(data, FOUND)
    assert found.at.score == 0.9
    assert [(each.text, each.more, each.picture.name) for each in found.misses] == [
        ("cat", "25.0 % of the image", "b"),
        ("dog", "20.0 % of the image", "b"),
        ("dog", "5.0 % of the image", "a"),
    ]
    assert [len(each.picture.ground_truth) for each in found.misses] == [1, 1, 1]


def test_the_overlap_that_is_right_is_that_of_the_metric(data):
    rows = [*FOUND, (1, CAT, 0.96, (0, 0, 50, 60))]  # overlaps the cat by two thirds
    assert [each.text for each in analysed(data, rows, iou_threshold=0.7).mistakes][:1] == [
        "poor box: cat 0.96"
    ]
    assert "poor box: cat 0.96" not in [each.text for each in analysed(data, rows).mistakes]
    found = analyse(
        data,
        table(rows),
        measure(data, table(rows), EvaluationConfig(metric="coco")),
        EvaluationConfig(metric="coco", iou_threshold=0.7),
    )
    assert found.right_iou == 0.5


def test_pictures_show_the_predictions_of_the_chosen_score(data):
    found = analysed(data, FOUND)
    assert [len(picture.predictions) for picture in found.pictures] == [1, 0, 1]


def test_an_image_that_is_gone_is_passed_over(data):
    data.records[1].path.unlink()
    assert {each.picture.name for each in analysed(data, FOUND).misses} == {"a"}
    found = analysed(data, [*FOUND, *OTHERS])
    assert {each.picture.name for each in found.mistakes} == {"a"}
    assert [picture.name for picture in found.pictures] == ["a", "c"]


def test_there_are_not_more_than_some_examples(data):
    rows = [(0, CAT, 0.5 + 0.01 * n, (70, 50, 90, 70)) for n in range(20)]
    rows += [
        (image, label, 0.4, (*box, box[0] + 9, box[1] + 9))
        for image, label, box in [(2, 2, (0, 0))]
    ]
    found = analysed(data, rows)
    assert len(found.mistakes) == SHOWN_EXAMPLES
    assert found.mistakes[0].text == "background: cat 0.69"
