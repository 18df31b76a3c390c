"""The feature pyramid of every backbone, beside a naive top-down pass."""

import pytest
import torch

from ssd.common.sides import both
from ssd.config import ModelConfig, OptimizerConfig
from ssd.model.feature_pyramid import FeaturePyramid
from ssd.model.ssd import build_model, is_pretrained
from ssd.training.optimizer import parameter_groups

SIDES, CHANNELS, WIDTH = ((19, 25), (10, 13), (5, 7), (3, 3), (1, 1)), (3, 5, 4, 4, 2), 6
BACKBONES = [
    ("ssd7", 300),
    ("ssd7", [96, 160]),
    ("mobilenet_v3_large", 320),
    ("vgg16", 300),
    ("vgg16_bn", 512),
    ("resnet50", 300),
]


def randomise(module):
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1)
            layer.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(layer.weight, 0.5, 2)
            torch.nn.init.uniform_(layer.bias, -1, 1)


def convolved(block, features):
    """A convolution and its normalisation, written out position by position."""
    convolution, norm = block
    weight, side = convolution.weight, convolution.weight.shape[-1]
    B, _, H, W = features.shape
    padded = torch.zeros(B, features.shape[1], H + side - 1, W + side - 1)
    edge = side // 2
    padded[:, :, edge : edge + H, edge : edge + W] = features
    result = torch.empty(B, len(weight), H, W)
    for y in range(H):
        for x in range(W):
            window = padded[:, None, :, y : y + side, x : x + side]
            result[:, :, y, x] = (window * weight).sum((2, 3, 4))
    mean, var, scale, bias = (
        each[:, None, None]
        for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (result - mean) / (var + norm.eps).sqrt() * scale + bias


def test_the_pyramid_is_that_of_a_naive_top_down_pass():
    torch.manual_seed(0)
    pyramid = FeaturePyramid(CHANNELS, WIDTH).eval()
    randomise(pyramid)
    maps = [
        torch.randn(2, channels, *sides) for channels, sides in zip(CHANNELS, SIDES, strict=True)
    ]
    expected, above = [], None
    with torch.no_grad():
        for place in reversed(range(len(maps))):
            merged = convolved(pyramid.network.inner_blocks[place], maps[place])
            if above is not None:
                (H, W), (h, w) = merged.shape[-2:], above.shape[-2:]
                for y in range(H):
                    for x in range(W):
                        merged[:, :, y, x] += above[:, :, y * h // H, x * w // W]
            above = merged
            expected.insert(0, convolved(pyramid.network.layer_blocks[place], merged).clamp(min=0))
        found = pyramid(maps)
    assert len(found) == len(maps)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("backbone", "size"), BACKBONES)
def test_every_backbone_keeps_its_default_boxes(backbone, size):
    with torch.device("meta"):
        plain, model = (
            build_model(ModelConfig(backbone, size, pyramid=width), 4) for width in (0, 64)
        )
        images = torch.empty(2, 3, *both(size))
        predictions = model(images)
        merged = model.pyramid(model.backbone(images))
    assert len(model.default_boxes) == len(plain.default_boxes)
    assert predictions.logits.shape == (2, len(plain.default_boxes), 4)
    assert predictions.locations.shape == (2, len(plain.default_boxes), 4)
    assert [each.shape[1:] for each in merged] == [
        (64, *both(each)) for each in model.backbone.map_sizes
    ]


def test_without_a_pyramid_the_random_weights_are_those_of_before():
    states = []
    for width in (0, 32):
        torch.manual_seed(1)
        states.append(build_model(ModelConfig("ssd7", 96, pyramid=width), 3))
    plain, model = states
    assert not any(name.startswith("pyramid") for name in plain.state_dict())
    assert torch.equal(plain.default_boxes, model.default_boxes)
    for one, other in zip(plain.backbone.parameters(), model.backbone.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_single_image_trains_every_layer_of_it():
    """The coarsest map of one image has one value per channel."""
    model = build_model(ModelConfig("mobilenet_v3_large", 128, pyramid=16), 3)
    predictions = model(torch.randn(1, 3, 128, 128))
    (predictions.logits.square().sum() + predictions.locations.square().sum()).backward()
    for name, parameter in model.pyramid.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_a_frozen_or_slower_backbone_leaves_the_pyramid_as_it_is():
    model = build_model(ModelConfig("ssd7", 96, pyramid=16, freeze="backbone"), 3)
    assert all(parameter.requires_grad for parameter in model.pyramid.parameters())
    assert all(module.training for module in model.pyramid.modules())
    assert not any(is_pretrained(f"pyramid.{name}") for name in model.pyramid.state_dict())
    model = build_model(ModelConfig("ssd7", 96, pyramid=16), 3)
    groups = parameter_groups(model, OptimizerConfig(backbone_lr_factor=0.1))
    factors = {id(p): group["lr_factor"] for group in groups for p in group["params"]}
    assert all(factors[id(p)] >= 1 for p in model.pyramid.parameters())
    assert any(factors[id(p)] < 1 for p in model.backbone.parameters())
