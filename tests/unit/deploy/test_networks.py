"""Exported networks in onnxruntime beside the models: every backbone, form and batch.

Scores agree to 1e-4 and boxes to 0.05 pixels. Detections come in the same order wherever scores
differ by more than 1e-4.
"""

from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from ssd.common.errors import UserError
from ssd.config import Backbone
from ssd.deploy.compare import compare_detections, compare_raw
from ssd.deploy.runtime import ExportedDetector, ExportedFile, Objects, input_of
from tests.unit.deploy.nets import assert_same, expected, photo

SIZES = [(97, 131), (33, 300), (211, 53), (65, 77), (301, 129)]
BACKBONES = [
    "ssd7",
    "ssd7+pyramid",
    "ssd7+wide",
    "timm:convnext_atto",
    pytest.param("timm:efficientnet_b0", marks=pytest.mark.long),
    *(pytest.param(name, marks=pytest.mark.long) for name in get_args(Backbone) if name != "ssd7"),
    pytest.param("vgg16+pyramid", marks=pytest.mark.long),
    pytest.param("resnet50+pyramid", marks=pytest.mark.long),
    pytest.param("mobilenet_v3_large+pyramid", marks=pytest.mark.long),
    pytest.param("timm:efficientnet_b0+pyramid", marks=pytest.mark.long),
]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_detections_are_those_of_the_model(exported, backbone):
    path, detector = exported(backbone, "detections")
    found = ExportedDetector(path)
    images = [photo(height, width, seed) for seed, (height, width) in enumerate(SIZES)]
    for pixels in images:
        assert_same(expected(detector, pixels), found(pixels))
    batch = np.concatenate([input_of(pixels, found.facts) for pixels in images])
    together = found.run(batch)
    for place in range(5):
        alone = found.run(batch[place : place + 1])
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(other[place], one[0], atol=1e-4, rtol=0)
    assert compare_detections(detector, found, images).is_small


@pytest.mark.parametrize(
    ("backbone", "pixels"),
    [
        ("ssd7", False),
        ("ssd7", True),
        ("ssd7+pyramid", False),
        ("ssd7+wide", False),
        ("ssd7+wide", True),
        *(pytest.param(each.values[0], False, marks=each.marks) for each in BACKBONES[5:]),
    ],
)
def test_raw_outputs_are_those_of_the_model(exported, backbone, pixels):
    path, detector = exported(backbone, "raw", pixels)
    file = ExportedFile(path)
    images = [photo(height, width, seed) for seed, (height, width) in enumerate(SIZES)]
    batch = np.concatenate([input_of(photo(53, 87, seed), file.facts) for seed in range(5)])
    with pytest.raises(UserError, match="gives raw scores: export the run without --raw"):
        ExportedDetector(path)
    boxes, scores = file.run(batch)
    images += [photo(1, 1), photo(1, 500), photo(64, 200, gray=True)]
    difference = compare_raw(
        detector, lambda each: file.run(input_of(each, file.facts)), images, pixels
    )
    assert difference.scores < 1e-4
    assert difference.boxes < 0.05
    for place in range(5):
        alone = file.run(batch[place : place + 1])
        np.testing.assert_allclose(boxes[place], alone[0][0], atol=0.05, rtol=0)
        np.testing.assert_allclose(scores[place], alone[1][0], atol=1e-4, rtol=0)
    assert boxes.shape == (5, len(detector.model.default_boxes), 4)
    torch.testing.assert_close(torch.from_numpy(scores).sum(2), torch.ones(scores.shape[:2]))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_pixels_of_any_size_go_in(exported, backbone):
    path, detector = exported(backbone, "detections", pixels=True)
    found = ExportedDetector(path)
    jpegs = [cv2.imencode(".jpg", photo(*size))[1] for size in SIZES]
    images = [cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB) for jpeg in jpegs]
    images += [photo(64, 200, gray=True), photo(1500, 2000)]
    # In a picture of one colour all boxes of a map have nearly one score, and rounding chooses
    # among them. The scores and boxes themselves are compared above.
    for pixels in images:
        assert_same(expected(detector, pixels), found(pixels))
    batch = np.stack([photo(53, 87, seed) for seed in range(5)])
    together = found.run(batch)
    for place in range(5):
        (count,) = together[3][place : place + 1]
        rows = (output[place, :count] for output in together[:3])
        assert_same(expected(detector, batch[place]), Objects(*rows))


@pytest.mark.long
def test_a_picture_of_20_megapixels(exported):
    path, detector = exported("ssd7", "detections", pixels=True)
    pixels = photo(3648, 5472)
    assert_same(expected(detector, pixels), ExportedDetector(path)(pixels))


def test_batch_normalisation_is_folded_and_nothing_of_training_is_left(exported):
    onnx = pytest.importorskip("onnx")
    path, _ = exported("ssd7", "detections")
    model = onnx.load(path)
    operators = {node.op_type for node in model.graph.node}
    assert operators.isdisjoint({"BatchNormalization", "Dropout", "Identity"})
    (opset,) = model.opset_import
    assert (opset.domain, opset.version) == ("", 18)
    onnx.checker.check_model(model, full_check=True)
