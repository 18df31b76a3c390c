"""Network, default boxes and detections equal torchvision's SSD300 and SSDLite320."""

import pytest
import torch
from torch import nn
from torchvision.models.detection import ssd300_vgg16, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.image_list import ImageList

from ssd.config import EvaluationConfig, ModelConfig
from ssd.detect.postprocess import postprocess
from ssd.geometry.boxes import to_corner_form
from ssd.model.foreign import SSDLITE_SETTINGS
from ssd.model.ssd import build_model
from ssd.model.weights import load_weights
from ssd.structures import Predictions

COCO_SIZES = [21.0, 45, 99, 153, 207, 261, 315]


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    return ssd300_vgg16(weights=None, weights_backbone=None, num_classes=21).eval()


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "theirs.pth"
    torch.save(theirs.state_dict(), file)
    config = ModelConfig(
        "vgg16",
        300,
        str(file),
        box_sizes=COCO_SIZES,
        clamp_boxes=True,
        pixel_mean=[123.0, 117.0, 104.0],
        pixel_std=[1.0, 1.0, 1.0],
    )
    model = build_model(config, num_classes=21).eval()
    load_weights(model, config, [f"class {row}" for row in range(1, 21)])
    return model


def test_network_equals_torchvision(ours, theirs):
    images = 100 * torch.randn(2, 3, 300, 300)
    with torch.no_grad():
        predictions = ours(images)
        expected = theirs.head(list(theirs.backbone(images).values()))
    assert expected["cls_logits"].std() > 0.1
    torch.testing.assert_close(predictions.logits, expected["cls_logits"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        predictions.locations, expected["bbox_regression"], atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("sharpness", [0.2, 2.0])
def test_detections_equal_torchvision(sharpness, ours, theirs):
    """From near-uniform scores, where nearly all boxes compete, to trained-like ones."""
    logits = sharpness * torch.randn(2, 8732, 21)
    logits[..., 0] += 3 * sharpness
    locations = torch.randn(2, 8732, 4)
    images = ImageList(torch.zeros(2, 3, 300, 300), [(300, 300)] * 2)
    maps = [torch.zeros(2, 1, size, size) for size in (38, 19, 10, 5, 3, 1)]
    anchors = theirs.anchor_generator(images, maps)
    expected = theirs.postprocess_detections(
        {"bbox_regression": locations, "cls_logits": logits}, anchors, images.image_sizes
    )
    predictions = Predictions(logits, locations)
    found = postprocess(predictions, ours.default_boxes, EvaluationConfig())
    for one, other in zip(found, expected, strict=True):
        assert len(one.scores) == 200
        torch.testing.assert_close(one.scores, other["scores"], atol=1e-4, rtol=0)
        torch.testing.assert_close(300 * one.boxes, other["boxes"], atol=0.05, rtol=0)
        assert torch.equal(one.labels, other["labels"])


@torch.no_grad()
def test_ssdlite_equals_torchvision(tmp_path):
    """To the bit: both are the same layers, whose norms have statistics as after a training."""
    torch.manual_seed(0)
    theirs = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21)
    for layer in theirs.eval().modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.0, 0.02)  # so small that the layers' eps matters
            layer.weight.uniform_(0.1, 0.3)
            layer.bias.uniform_(-0.1, 0.1)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    config = ModelConfig(weights=str(tmp_path / "theirs.pth"), **SSDLITE_SETTINGS)
    model = build_model(config, num_classes=21).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == sum(
        parameter.numel() for parameter in theirs.parameters()
    )
    told = load_weights(model, config, [f"class {row}" for row in range(1, 21)])
    assert "fresh" not in told

    images = torch.randn(2, 3, 320, 320)
    maps = list(theirs.backbone(images).values())
    expected = theirs.head(maps)
    predictions = model(images)
    assert expected["cls_logits"].std() > 0.01
    assert torch.equal(predictions.logits, expected["cls_logits"])
    assert torch.equal(predictions.locations, expected["bbox_regression"])
    boxes = theirs.anchor_generator(ImageList(images, [(320, 320)] * 2), maps)[0]
    torch.testing.assert_close(320 * to_corner_form(model.default_boxes), boxes, rtol=0, atol=1e-4)
