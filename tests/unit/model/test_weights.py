from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import VGG16_BN_Weights, VGG16_Weights, get_weight, mobilenet_v3_large

from ssd.common.errors import UserError
from ssd.config import ModelConfig
from ssd.config.settings import read_config
from ssd.model import foreign, weights
from ssd.model.ssd import build_model
from ssd.model.weights import imagenet_weights, load_weights

TORCHVISION_SETTINGS = {
    "box_sizes": [21.0, 45, 99, 153, 207, 261, 315],
    "clamp_boxes": True,
    "pixel_mean": [123.0, 117.0, 104.0],
    "pixel_std": [1.0, 1.0, 1.0],
}
CLASSES = ["circle", "square"]


@pytest.fixture
def mobilenet_file(tmp_path):
    path = tmp_path / "mobilenet.pth"
    torch.save(mobilenet_v3_large(weights=None).state_dict(), path)
    return path


def mobilenet(path):
    config = ModelConfig("mobilenet_v3_large", 96, str(path))
    return build_model(config, 3), config


def test_none_leaves_the_random_weights(monkeypatch):
    config = ModelConfig("ssd7", 96, "none")
    model = build_model(config, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert load_weights(model, config, CLASSES) == "random"
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_a_torchvision_file_gives_the_features(mobilenet_file):
    model, config = mobilenet(mobilenet_file)
    head = model.head.logits[0][0].weight.clone()
    load_weights(model, config, CLASSES)
    state = torch.load(mobilenet_file, weights_only=True)
    own = model.backbone.features.state_dict()
    assert len(own) > 100
    assert all(torch.equal(state[f"features.{name}"], tensor) for name, tensor in own.items())
    assert torch.equal(model.head.logits[0][0].weight, head)


def test_imagenet_weights_come_from_torchvision(monkeypatch, mobilenet_file):
    state = torch.load(mobilenet_file, weights_only=True)
    published = get_weight(weights.IMAGENET["mobilenet_v3_large"])
    monkeypatch.setattr(type(published), "get_state_dict", lambda *_, **__: state)
    model, config = mobilenet("imagenet")
    load_weights(model, config, CLASSES)
    assert torch.equal(model.backbone.features[0][0].weight, state["features.0.0.weight"])


@pytest.mark.parametrize(
    "error", [URLError("no route"), ConnectionResetError("reset\nby peer"), RuntimeError("hash")]
)
def test_weights_that_cannot_be_fetched_name_both_ways_out(monkeypatch, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    model, config = mobilenet("imagenet")
    with pytest.raises(UserError, match=r"--model.weights PATH .* --model.weights none") as caught:
        load_weights(model, config, CLASSES)
    assert "\n" not in str(caught.value)


def test_vgg_without_a_network_is_pointed_to_backbones_that_need_none(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    config = ModelConfig("vgg16", weights="imagenet")
    with pytest.raises(UserError, match="vgg16_bn and ssd7"):
        weights.fetch_or_read(config, "model.weights imagenet")


def test_a_detector_that_cannot_be_fetched_names_both_ways_out(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    config = ModelConfig("vgg16", weights="torchvision", **TORCHVISION_SETTINGS)
    with pytest.raises(UserError, match=r"PATH .* of ssd300_vgg16, and --model.weights none"):
        weights.fetch_or_read(config, "model.weights torchvision")


def test_nothing_is_fetched_for_a_model_that_is_set_otherwise(monkeypatch):
    monkeypatch.setattr(weights, "fetch", None)
    with pytest.raises(UserError, match="model.backbone is ssd7, but these weights need vgg16"):
        weights.fetch_or_read(ModelConfig("ssd7", weights="torchvision"), "model.weights x")


@pytest.mark.parametrize("published", foreign.PUBLISHED, ids=lambda one: one.network)
def test_the_overlay_config_sets_what_the_detector_needs(published, repository):
    configs = repository / "configs"
    others = [f"{each.recipe}.yaml" for each in foreign.PUBLISHED]
    for base in ("custom_voc.yaml", "quickstart.yaml", "ssd512_vgg16_coco.yaml", *others):
        config = read_config([configs / base, configs / f"{published.recipe}.yaml"])
        assert config.model.weights == "torchvision"
        weights.refuse_settings(config.model, published.settings, "overlay")


def test_fitted_boxes_do_not_go_with_the_boxes_of_published_weights():
    config = ModelConfig(**{**foreign.SSDLITE_SETTINGS, "box_sizes": [0.1, 0.2], "fit_boxes": True})
    with pytest.raises(UserError, match="need null: leave model.fit_boxes out"):
        weights.refuse_settings(config, foreign.SSDLITE_SETTINGS, "model.weights x")


def test_vgg_has_weights_at_both_scales_of_pixels():
    divided, plain = ModelConfig("vgg16"), ModelConfig("vgg16", pixel_std=[1, 1, 1])
    assert get_weight(imagenet_weights(divided)) == VGG16_Weights.IMAGENET1K_V1
    assert get_weight(imagenet_weights(plain)) == VGG16_Weights.IMAGENET1K_FEATURES
    with_norm = ModelConfig("vgg16_bn", pixel_std=[1, 1, 1])
    assert get_weight(imagenet_weights(with_norm)) == VGG16_BN_Weights.IMAGENET1K_V1


def test_ssd7_starts_from_nobodys_weights(mobilenet_file):
    config = ModelConfig("ssd7", 96, "imagenet")
    with pytest.raises(UserError, match="no pretrained weights for ssd7"):
        load_weights(build_model(config, 3), config, CLASSES)
    config = ModelConfig("ssd7", 96, str(mobilenet_file))
    with pytest.raises(UserError, match=r"holds no detector, .* the folder of a run with ssd7"):
        load_weights(build_model(config, 3), config, CLASSES)


def test_ssdlite_starts_from_no_classifier(mobilenet_file):
    for given in ("imagenet", str(mobilenet_file)):
        config = ModelConfig("ssdlite", 96, given)
        with pytest.raises(UserError, match="ssdlite, .* can only start from a detector's weights"):
            load_weights(build_model(config, 3), config, CLASSES)


def test_a_missing_file_is_named(tmp_path):
    model, config = mobilenet(tmp_path / "absent.pth")
    with pytest.raises(UserError, match=r"absent.pth, but there is no such file"):
        load_weights(model, config, CLASSES)


@pytest.mark.parametrize("keep", [0, 10, 1000, 100_000])
def test_a_truncated_file_is_damaged(keep, mobilenet_file):
    mobilenet_file.write_bytes(mobilenet_file.read_bytes()[:keep])
    model, config = mobilenet(mobilenet_file)
    with pytest.raises(UserError, match="cannot be read") as caught:
        load_weights(model, config, CLASSES)
    assert "\n" not in str(caught.value)


def test_a_whole_pickled_model_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(nn.Linear(2, 2), path)
    model, config = mobilenet(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_weights(model, config, CLASSES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, but has to hold"),
        ({"model": {}, "epoch": 3}, r"holds a dict of \['model', 'epoch'\]"),
        ({}, r"lacks features\.0\.0\.weight, lacks .* and \d+ more"),
    ],
)
def test_files_of_something_else_are_refused(content, message, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    model, config = mobilenet(path)
    with pytest.raises(UserError, match=message):
        load_weights(model, config, CLASSES)


def test_misfits_are_named_and_change_nothing(mobilenet_file):
    state = torch.load(mobilenet_file, weights_only=True)
    state["features.0.0.weight"] = torch.zeros(2, 2)
    state["features.99.weight"] = torch.zeros(1)
    del state["features.16.1.bias"]
    torch.save(state, mobilenet_file)
    model, config = mobilenet(mobilenet_file)
    before = model.backbone.features[0][1].weight.clone()
    with pytest.raises(UserError) as caught:
        load_weights(model, config, CLASSES)
    for part in (
        "has unknown features.99.weight",
        r"has features.0.0.weight of [2, 2] for [16, 3, 3, 3]",
        "lacks features.16.1.bias",
    ):
        assert part in str(caught.value)
    assert torch.equal(model.backbone.features[0][1].weight, before)


def test_old_files_without_batch_counters_load(mobilenet_file):
    state = torch.load(mobilenet_file, weights_only=True)
    state = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(state, mobilenet_file)
    load_weights(*mobilenet(mobilenet_file), CLASSES)
