"""Networks of timm as backbones."""

from dataclasses import replace

import pytest
import torch

from ssd.common.errors import UserError
from ssd.common.sides import both
from ssd.config import ModelConfig
from ssd.config.recipes import find_recipe
from ssd.config.settings import read_config
from ssd.model.ssd import build_model
from ssd.model.weights import load_weights

timm = pytest.importorskip("timm", reason="needs timm: pip install timm")


def config(name, **more):
    return ModelConfig(backbone=f"timm:{name}", **more)


@pytest.mark.parametrize(
    ("name", "size", "sides"),
    [
        ("resnet18", 300, [38, 19, 10, 5, 3, 2, 1]),
        ("tf_efficientnet_lite0", 128, [16, 8, 4, 2, 1]),
        ("convnext_atto", 96, [12, 6, 3, 2, 1]),
        ("resnet18", [96, 160], [(12, 20), (6, 10), (3, 5), (2, 3), (1, 2), (1, 1)]),
    ],
)
def test_maps_of_strides_8_to_the_last_position(name, size, sides):
    model = build_model(config(name, input_size=size), 4)
    height, width = both(size)
    maps = model.backbone(torch.zeros(1, 3, height, width))
    sides = [(side, side) if isinstance(side, int) else side for side in sides]
    assert [each.shape[-2:] for each in maps] == sides == model.backbone.map_sizes
    assert [each.shape[1] for each in maps] == list(model.backbone.channels)
    predictions = model(torch.zeros(2, 3, height, width))
    assert predictions.logits.shape == (2, len(model.default_boxes), 4)
    assert model.training
    assert all(each.training for each in model.modules())


def test_the_layers_of_a_classifier_are_taken_from_a_file(tmp_path):
    classifier = timm.create_model("convnext_atto", pretrained=False)
    torch.save(classifier.state_dict(), tmp_path / "own.pth")
    chosen = config("convnext_atto", input_size=96, weights=str(tmp_path / "own.pth"))
    model = build_model(chosen, 4)
    told = load_weights(model, chosen, ["a", "b", "c"])
    assert "model.pixel_mean [123.675, 116.28, 103.53]" in told
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        last = model.backbone.features.eval()(images)[-1]
        expected = classifier.eval().forward_intermediates(images, intermediates_only=True)[-1]
    torch.testing.assert_close(last, expected)


def test_the_recipe_has_the_pixels_that_its_weights_were_made_for(tmp_path):
    recipe = read_config([find_recipe("custom_voc"), find_recipe("imagenet_weights")]).model
    classifier = timm.create_model(recipe.backbone.removeprefix("timm:"), pretrained=False)
    torch.save(classifier.state_dict(), tmp_path / "own.pth")
    chosen = replace(recipe, weights=str(tmp_path / "own.pth"))
    model = build_model(chosen, 4)
    told = load_weights(model, chosen, ["a", "b", "c"])
    made_for = f"model.pixel_mean {recipe.pixel_mean} and model.pixel_std {recipe.pixel_std}"
    assert made_for in told
    trained = {name.split(".")[0] for name, each in model.named_parameters() if each.requires_grad}
    assert trained == {"backbone", "pyramid", "head"}
    assert not any(each.requires_grad for each in model.backbone.features.parameters())


def test_weights_that_do_not_fit(tmp_path):
    other = timm.create_model("resnet18", pretrained=False)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    chosen = config("convnext_atto", input_size=96, weights=str(tmp_path / "other.pth"))
    with pytest.raises(UserError, match="timm:convnext_atto are not in this file"):
        load_weights(build_model(chosen, 4), chosen, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("resnet81", 300, "has no network of this name: did you mean resnet"),
        ("vit_tiny_patch16_224", 224, "has no feature maps of strides 8, 16 and 32"),
        ("swin_tiny_patch4_window7_224", 300, "cannot take images of model.input_size 300"),
        ("hf-hub:some/thing", 300, "has no network of this name"),
    ],
)
def test_networks_that_cannot_be_a_backbone(name, size, told):
    with pytest.raises(UserError, match=told):
        build_model(config(name, input_size=size), 4)


def test_a_pyramid_above_it():
    model = build_model(config("resnet18", input_size=128, pyramid=32), 4).eval()
    maps = model.pyramid(model.backbone(torch.zeros(1, 3, 128, 128)))
    assert [each.shape[1:] for each in maps] == [(32, *size) for size in model.backbone.map_sizes]
    logits = model(torch.zeros(1, 3, 128, 128)).logits
    assert logits.shape == (1, len(model.default_boxes), 4)
