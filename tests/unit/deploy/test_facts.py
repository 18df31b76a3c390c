"""The metadata of an exported file."""

import json

import pytest

from ssd.deploy.facts import FORMAT, read_facts
from tests.unit.deploy.nets import facts_of, random_detector


def test_facts_come_back_as_they_were_written():
    facts = facts_of(random_detector(), pixels=True, classes=("Käfer", "a, b", "3"))
    metadata = facts.metadata()
    assert metadata["format"] == FORMAT
    assert json.loads(metadata["classes"]) == ["Käfer", "a, b", "3"]
    assert read_facts(metadata) == facts


def test_an_input_of_another_height_than_width():
    facts = facts_of(random_detector(), input_size=(96, 160))
    metadata = facts.metadata()
    assert metadata["input_size"] == "[96, 160]"
    assert read_facts(metadata) == facts
    assert read_facts(metadata | {"input_size": "300"}).input_size == 300


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("format", "another 1", "not written by `ssd export`"),
        ("form", "boxes", "form is 'boxes'"),
        ("pixels", "1", "pixels is 1, but has to be true or false"),
        ("classes", "[]", r"classes are \[\]"),
        ("classes", '["a", 3]', "classes is 3"),
        ("pixel_mean", "[1, 2]", "pixel_mean are"),
        ("pixel_mean", '[1, 2, "x"]', "pixel_mean holds 'x'"),
        ("pixel_std", "[1, 0, 1]", "pixel_std are not above 0"),
        ("pixel_std", "[1, NaN, 1]", "pixel_std holds nan"),
        ("input_size", "100000", "input_size is 100000, above"),
        ("input_size", "0", "input_size is 0"),
        ("input_size", "[96, 100000]", r"input_size is \[96, 100000\], above"),
        ("input_size", "[96, 0]", "input_size is 0"),
        ("input_size", "[96, 96, 96]", "input_size is"),
        ("input_size", '"96x96"', "input_size is"),
        ("step", '"x"', "step is 'x'"),
        ("nms_iou", "null", "nms_iou holds None"),
        ("top_k", "[" * 100_000, "top_k is"),
        ("max_detections", None, "has no max_detections"),
    ],
)
def test_impossible_facts_are_named(name, text, message):
    metadata = facts_of(random_detector()).metadata()
    if text is None:
        del metadata[name]
    else:
        metadata[name] = text
    with pytest.raises(ValueError, match=message):
        read_facts(metadata)
