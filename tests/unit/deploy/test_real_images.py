"""Exported networks on 32 real pictures beside the models: every backbone, form and batch.

Scores agree to 1e-4 and boxes to 0.05 pixels. Detections come in the same order wherever scores
differ by more than 1e-4.
"""

from typing import get_args

import cv2
import numpy as np
import pytest

from ssd.common.sides import both
from ssd.config import Backbone
from ssd.deploy.compare import compare_raw, raw
from ssd.deploy.runtime import ExportedDetector, ExportedFile, Objects, input_of
from ssd.deploy.ties import BOX_BOUND, SCORE_BOUND
from tests.unit.deploy.nets import assert_same, expected, photo

pytestmark = [
    pytest.mark.long,
    pytest.mark.parametrize("suffix", [".onnx", ".xml"]),
    pytest.mark.parametrize("backbone", [*get_args(Backbone), "ssd7+pyramid", "ssd7+wide"]),
]
ODD_SIZES = [(97, 131), (33, 301), (211, 53), (65, 77), (1201, 1603)]
BATCH = 5


@pytest.fixture(scope="module")
def pictures(coco128):
    files = sorted(coco128.rglob("*.jpg"))[:32]
    assert len(files) == 32
    return [cv2.imread(str(file), cv2.IMREAD_COLOR_RGB) for file in files]


def jpeg(pixels):
    """The pixels of a picture that has been a JPEG file."""
    return cv2.imdecode(cv2.imencode(".jpg", pixels)[1], cv2.IMREAD_COLOR_RGB)


def odd(pictures):
    """The pictures at odd sizes, a gray one, and one of 20 megapixels."""
    sizes = [(height, width) for width, height in ODD_SIZES]
    yield from (jpeg(cv2.resize(pictures[i], size)) for i, size in enumerate(sizes))
    yield jpeg(pictures[5]).mean(2, keepdims=True).astype(np.uint8).repeat(3, 2)
    yield jpeg(cv2.resize(pictures[6], (5472, 3648)))


def in_batches(values):
    return [values[start : start + BATCH] for start in range(0, len(values), BATCH)]


def objects_in(outputs, place, scale=1):
    """The objects of one image of a batch."""
    count = outputs[3][place]
    boxes, scores, labels = (output[place, :count] for output in outputs[:3])
    return Objects(boxes * scale, scores, labels)


def test_detections(exported, pictures, backbone, suffix):
    path, detector = exported(backbone, suffix=suffix)
    found = ExportedDetector(path)
    most = found.facts.max_detections
    for batch in in_batches(pictures):
        together = found.run(np.concatenate([input_of(pixels, found.facts) for pixels in batch]))
        for place, pixels in enumerate(batch):
            wanted = expected(detector, pixels)
            assert_same(wanted, found(pixels), most)
            height, width = pixels.shape[:2]
            input_height, input_width = both(found.facts.input_size)
            scale = np.array([width / input_width, height / input_height] * 2, np.float32)
            assert_same(wanted, objects_in(together, place, scale), most)


def test_raw(exported, pictures, backbone, suffix):
    path, detector = exported(backbone, "raw", suffix=suffix)
    file = ExportedFile(path)
    for batch in in_batches(pictures):
        inputs = [input_of(pixels, file.facts) for pixels in batch]
        together = file.run(np.concatenate(inputs))
        for place, pixels in enumerate(batch):
            boxes, scores = raw(detector, pixels, in_pixels=False)
            rows = [each[place : place + 1] for each in together]
            for found in (rows, file.run(inputs[place])):
                np.testing.assert_allclose(found[0], boxes, atol=BOX_BOUND, rtol=0)
                np.testing.assert_allclose(found[1], scores, atol=SCORE_BOUND, rtol=0)


def test_detections_from_pixels(exported, pictures, backbone, suffix):
    path, detector = exported(backbone, pixels=True, suffix=suffix)
    found = ExportedDetector(path)
    most = found.facts.max_detections
    for pixels in odd(pictures):
        assert_same(expected(detector, pixels), found(pixels), most)
    corners = [pixels[:301, :203] for pixels in pictures if pixels.shape[:2] >= (301, 203)]
    batch = np.stack([each for each in corners if each.shape == (301, 203, 3)][:BATCH])
    together = found.run(batch)
    assert len(batch) == BATCH
    for place in range(BATCH):
        assert_same(expected(detector, batch[place]), objects_in(together, place), most)


def test_raw_from_pixels(exported, pictures, backbone, suffix):
    """In a picture of one pixel all boxes of a map have one score, and rounding orders them."""
    path, detector = exported(backbone, "raw", pixels=True, suffix=suffix)
    file = ExportedFile(path)
    images = [*odd(pictures), photo(1, 1)]
    difference = compare_raw(detector, lambda each: file.run(each[None]), images, in_pixels=True)
    assert difference.is_small
