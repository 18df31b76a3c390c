"""What a file in other numbers may lose, and how it is told."""

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.deploy.agreement import Agreement, compare_objects, same_objects
from ssd.deploy.runtime import Objects
from ssd.deploy.samples import CALIBRATED, Samples, spread
from ssd.deploy.score import score_change, told_change
from ssd.detect.result import Result


def objects(*rows):
    values = np.array(rows, np.float32).reshape(-1, 6)
    return Objects(values[:, 2:], values[:, 1], values[:, 0].astype(np.int64))


class Finder:
    """Finds the same objects in every picture, as an exported file and a model do."""

    classes = ("cat", "dog")

    def __init__(self, *rows):
        self.found = objects(*rows)

    def results(self, named, min_score):
        sure = self.found.scores >= min_score
        boxes, scores, labels = (each[sure] for each in self.found)
        for name, pixels in named:
            names = tuple(self.classes[label - 1] for label in labels.tolist())
            yield Result(name, boxes, scores, labels, names, pixels, classes=self.classes)


PICTURES = [np.zeros((20, 20, 3), np.uint8)] * 2


def test_objects_pair_by_class_and_overlap_the_best_first():
    one = objects((1, 0.9, 0, 0, 9, 9), (1, 0.8, 0, 0, 9, 7), (2, 0.7, 0, 0, 9, 9))
    other = objects((1, 0.9, 0, 0, 9, 8.8), (1, 0.8, 0, 0, 9, 6), (3, 0.7, 0, 0, 9, 9))
    assert same_objects(one, other) == [(0, 0), (1, 1)]
    assert same_objects(one, objects((1, 0.9, 0, 0, 9, 4))) == [(1, 0)]
    assert same_objects(one, objects()) == same_objects(objects(), one) == []


def test_the_objects_of_a_model_and_a_file():
    model = Finder((1, 0.9, 0, 0, 9, 9), (2, 0.6, 0, 0, 9, 9), (2, 0.1, 0, 0, 4, 4))
    file = Finder((1, 0.7, 0, 0, 9, 8), (1, 0.5, 10, 0, 19, 9), (2, 0.2, 0, 0, 9, 9))
    found = compare_objects(model, file, PICTURES, "int8")
    assert (found.images, found.objects, found.alone) == (2, 8, 4)
    assert found.scores == pytest.approx(0.2)
    assert found.boxes == pytest.approx(0.25)
    assert "of 8 objects of score 0.4 or more that the two find, 4 are found by one" in str(found)
    nothing = compare_objects(Finder(), Finder(), PICTURES, "int8")
    assert nothing.is_small
    assert str(nothing) == "neither finds an object of score 0.4 or more"
    assert not compare_objects(model, Finder(), PICTURES, "float16").is_small


@pytest.mark.parametrize(
    ("numbers", "objects", "alone", "is_small"),
    [
        ("float16", 100, 5, True),
        ("float16", 100, 6, False),
        ("float16", 4, 2, True),
        ("int8", 100, 50, True),
        ("int8", 100, 51, False),
    ],
)
def test_the_bounds(numbers, objects, alone, is_small):
    assert Agreement(numbers, 3, objects, alone, 0.0, 0.0).is_small == is_small


def test_a_drop_of_more_than_a_point_is_loud():
    assert told_change(0.8, 0.791, "int8", 72) == (
        "mAP on 72 images: 0.8000 in float32, 0.7910 in int8"
    )
    assert told_change(0.7, 0.8, "float16", 1) == (
        "mAP on 1 image: 0.7000 in float32, 0.8000 in float16"
    )
    assert told_change(0.8, 0.775, "int8", 72) == (
        "mAP on 72 images: 0.8000 in float32, 0.7750 in int8\nWARNING: int8 LOSES 2.5 POINTS OF mAP"
    )
    assert "not measured" in score_change(None, None, None, None, "int8")


def test_samples_spread_from_first_to_last(tmp_path):
    assert spread(range(100), 5) == [0, 24, 49, 74, 99]
    assert spread(range(3), 5) == [0, 1, 2]
    samples = Samples(None, (), None, tmp_path)
    assert samples.evaluation_data() is None
    with pytest.raises(UserError, match="no image in"):
        samples.to_calibrate()
    assert CALIBRATED == 64  # as docs/deploy.md says
