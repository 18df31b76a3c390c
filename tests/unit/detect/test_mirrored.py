"""Detection in an image and its mirror image at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from ssd.augment.batch import preprocess_of
from ssd.config import AugmentConfig, EvaluationConfig, ModelConfig
from ssd.detect.detector import Detector
from ssd.model.ssd import build_model

MODEL = ModelConfig(backbone="ssd7", input_size=96)
SIZE = MODEL.input_size


@pytest.fixture(scope="module")
def plain() -> Detector:
    """Keeps every box, so that suppression alone chooses."""
    torch.manual_seed(0)
    every = {"nms_iou": 1.0, "top_k": 10_000, "max_detections": 10_000, "score_threshold": 0.35}
    preprocess = preprocess_of(MODEL, AugmentConfig())
    model = build_model(MODEL, 3).eval()
    return Detector(model, preprocess, ("cat", "dog"), None, EvaluationConfig(**every))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def mirrored(config):
    return replace(config, mirror=True)


def test_the_best_boxes_of_both_stay(plain, image):
    first, second = plain.predict([image, np.ascontiguousarray(image[:, ::-1])], 0)
    turned = second.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [SIZE, 0, SIZE, 0]
    boxes = torch.from_numpy(np.concatenate([first.boxes, turned])).float()
    scores = torch.from_numpy(np.concatenate([first.scores, second.scores]))
    labels = torch.from_numpy(np.concatenate([first.labels, second.labels]))
    kept = batched_nms(boxes, scores, labels, 0.45)
    both = replace(plain, config=replace(mirrored(plain.config), nms_iou=0.45))
    found = both.predict(image, 0)
    assert len(found) == len(kept) > 10
    np.testing.assert_allclose(found.scores, scores[kept], atol=1e-6)
    assert found.labels.tolist() == labels[kept].tolist()
    np.testing.assert_allclose(found.boxes, boxes[kept], atol=1e-3)


def test_the_mirror_image_has_the_mirrored_boxes(plain, image):
    both = replace(plain, config=mirrored(plain.config))
    first, second = both.predict([image, np.ascontiguousarray(image[:, ::-1])], 0)
    turned = second.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [SIZE, 0, SIZE, 0]
    order, other = (np.lexsort(boxes.round(2).T) for boxes in (first.boxes, turned))
    assert len(order) == len(other) > 10
    np.testing.assert_allclose(first.scores[order], second.scores[other], atol=1e-6)
