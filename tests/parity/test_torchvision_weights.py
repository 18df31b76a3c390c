"""Weights go from torchvision's SSD300 to ours and back, and the outputs stay the same.

The weights are random; the predictors are scaled so that their outputs are as spread as trained
ones, and the background wins nearly everywhere, so that no near-tie decides what is found.
"""

from functools import partial

import numpy as np
import pytest
import torch
from torchvision.models.detection import ssd300_vgg16

from ssd.augment.batch import preprocess_of
from ssd.config import AugmentConfig, Config, EvaluationConfig, ModelConfig, TrainingConfig
from ssd.config.settings import to_yaml
from ssd.data.dataset import pack
from ssd.data.image import read_image
from ssd.detect.detector import Detector
from ssd.detect.export import export
from ssd.detect.load import build_detector, open_checkpoint
from ssd.model.foreign import COCO_CATEGORIES, COCO_CLASSES
from ssd.model.ssd import build_model
from ssd.model.weights import load_weights
from ssd.run.checkpoint import save_checkpoint
from ssd.structures import Sample

WITH_THEIR_WEIGHTS = partial(
    ModelConfig,
    "vgg16",
    300,
    box_sizes=[21.0, 45, 99, 153, 207, 261, 315],
    clamp_boxes=True,
    pixel_mean=[123.0, 117.0, 104.0],
    pixel_std=[1.0, 1.0, 1.0],
)
NOT_ANTIALIASED = AugmentConfig(antialias=False)
NEVER_TRAINED = [row for row, name in enumerate(COCO_CATEGORIES, 1) if name == "N/A"]
# Torchvision places pixels in float32 when it resizes, and its mean is 122.99925 for our 123: up to
# 0.01 of 255 in a pixel, which a wider spread would amplify.
SPREAD = 1.5
# Logits of the background, by outputs: some dozens of an image's 8732 boxes stand out from it.
BACKGROUND = {4: 9.5, 21: 12.5, 91: 13.7}


@pytest.fixture(scope="module")
def pictures(coco128):
    files = sorted((coco128 / "images" / "val2017").iterdir())
    return [read_image(file) for file in files[:16]]


def as_tensors(pictures):
    """What torchvision's models take."""
    return [torch.from_numpy(pixels).permute(2, 0, 1) / 255 for pixels in pictures]


def packed(pictures):
    """What our models take."""
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    return pack([Sample(f"{i}", 0, 0, pixels, *nothing) for i, pixels in enumerate(pictures)])


def make_detect(class_predictors, location_predictors, maps, num_classes):
    """Scales predictors of random weights so that something is detected."""
    for predictors, deviation in ((class_predictors, SPREAD), (location_predictors, 1.0)):
        for predictor, features in zip(predictors, maps, strict=True):
            outputs = predictor(features)
            scale = deviation / outputs.var((0, 2, 3)).mean().sqrt()
            predictor.weight *= scale
            predictor.bias.copy_(scale * (predictor.bias - outputs.mean((0, 2, 3))))
    for predictor in class_predictors:
        predictor.bias.view(-1, num_classes)[:, 0] += BACKGROUND[num_classes]


@torch.no_grad()
def theirs_with(num_classes, pictures):
    """Torchvision's model with random weights."""
    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=num_classes).eval()
    images, _ = model.transform(as_tensors(pictures[:4]))
    maps = list(model.backbone(images.tensors).values())
    class_predictors = model.head.classification_head.module_list
    make_detect(class_predictors, model.head.regression_head.module_list, maps, num_classes)
    if num_classes == 91:
        for predictor in class_predictors:
            predictor.weight.unflatten(0, (-1, 91))[:, NEVER_TRAINED] = 0
            predictor.bias.unflatten(0, (-1, 91))[:, NEVER_TRAINED] = -50
    return model


@torch.no_grad()
def ours_with(config, num_classes, pictures):
    """Our model with random weights."""
    model = build_model(config.model, num_classes).eval()
    batch = preprocess_of(config.model, config.augment).evaluation_batch(packed(pictures[:4]))
    make_detect(model.head.logits, model.head.locations, model.backbone(batch.images), num_classes)
    return model


def detections_of(theirs, pictures):
    """Boxes relative to the image, scores and labels of each picture, by torchvision's model."""
    with torch.no_grad():
        found = [theirs([tensor])[0] for tensor in as_tensors(pictures)]
    sizes = [torch.tensor([*pixels.shape[1::-1]] * 2) for pixels in pictures]
    return [
        (one["boxes"] / size, one["scores"], one["labels"])
        for one, size in zip(found, sizes, strict=True)
    ]


def assert_same_detections(detector, expected, pictures, labels):
    """Compares with torchvision's detections, whose labels are `labels[ours]`.

    Two whose scores are equal to 1e-4 may stand in either order.
    """
    groups = [pictures[i : i + 4] for i in range(0, len(pictures), 4)]
    found = [one for group in groups for one in detector(packed(group))]
    for ours, (boxes, scores, their_labels) in zip(found, expected, strict=True):
        assert 10 < len(scores) < 200
        assert len(ours.scores) == len(scores)
        apart = 300 * (ours.boxes[:, None] - boxes).abs().amax(-1)
        apart += 1000 * (labels[ours.labels][:, None] != their_labels)
        nearest = apart.argmin(1)
        assert nearest.unique().numel() == len(scores)
        assert apart.amin(1).max() < 0.05
        torch.testing.assert_close(ours.scores, scores[nearest], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("num_classes", "classes"),
    [
        pytest.param(21, [f"unknown {row}" for row in range(1, 21)], marks=pytest.mark.long),
        (91, list(COCO_CLASSES)),
    ],
)
def test_their_weights_detect_the_same_here(num_classes, classes, pictures, tmp_path):
    """With 91 outputs those of ids that COCO never used are silent, and have no class here."""
    theirs = theirs_with(num_classes, pictures)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    config = WITH_THEIR_WEIGHTS(weights=str(tmp_path / "theirs.pth"))
    model = build_model(config, len(classes) + 1).eval()
    told = load_weights(model, config, classes)
    assert "classes kept" in told
    assert "fresh" not in told

    rows = torch.tensor([row for row in range(num_classes) if row not in NEVER_TRAINED])
    rows = rows if num_classes == 91 else torch.arange(num_classes)
    images, _ = theirs.transform(as_tensors(pictures[:2]))
    with torch.no_grad():
        expected = theirs.head(list(theirs.backbone(images.tensors).values()))
        predictions = model(images.tensors)
    close = partial(torch.testing.assert_close, atol=1e-4, rtol=0)
    close(predictions.logits, expected["cls_logits"][..., rows])
    close(predictions.locations, expected["bbox_regression"])

    preprocess = preprocess_of(config, NOT_ANTIALIASED)
    detector = Detector(model, preprocess, tuple(classes), None, EvaluationConfig())
    assert_same_detections(detector, detections_of(theirs, pictures), pictures, rows)


def test_an_exported_run_detects_the_same_there(pictures, tmp_path):
    """Default boxes, pixels and thresholds are none of torchvision's defaults."""
    pictures = pictures[:4]
    config = Config(
        augment=NOT_ANTIALIASED,
        training=TrainingConfig(device="cpu", precision="fp32"),
        model=ModelConfig("vgg16", 300, pixel_std=[1.5, 1.25, 1.0]),
        evaluation=EvaluationConfig(score_threshold=0.03, nms_iou=0.4, top_k=300),
    )
    state = {"model": ours_with(config, 4, pictures).state_dict(), "average": None}
    folder = save_checkpoint(tmp_path, 1, state, to_yaml(config), ["a", "b", "c"])
    lines, _ = export(folder, tmp_path / "model.pth")
    scope = {}
    exec(lines, scope)
    detector = build_detector(open_checkpoint(folder), config)
    expected = detections_of(scope["model"], pictures)
    assert_same_detections(detector, expected, pictures, torch.arange(4))
