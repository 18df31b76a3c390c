from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v3_large

from ssd.config import ModelConfig
from ssd.errors import UserError
from ssd.model import weights
from ssd.model.ssd import build_model
from ssd.model.weights import load_backbone, load_fc, torchvision_ssd300_name


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
    load_backbone(model, config)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_a_torchvision_file_gives_the_features(mobilenet_file):
    model, config = mobilenet(mobilenet_file)
    head = model.head.logits[0][0].weight.clone()
    load_backbone(model, config)
    state = torch.load(mobilenet_file, weights_only=True)
    own = model.backbone.features.state_dict()
    assert len(own) > 100
    assert all(torch.equal(state[f"features.{name}"], tensor) for name, tensor in own.items())
    assert torch.equal(model.head.logits[0][0].weight, head)


def test_imagenet_weights_come_from_torchvision(monkeypatch, mobilenet_file):
    state = torch.load(mobilenet_file, weights_only=True)
    enum = type("Weights", (), {"get_state_dict": lambda self, **_: state})()
    monkeypatch.setitem(weights.IMAGENET, "mobilenet_v3_large", enum)
    model, config = mobilenet("imagenet")
    load_backbone(model, config)
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
        load_backbone(model, config)
    assert "\n" not in str(caught.value)


def test_vgg_without_a_network_is_pointed_to_backbones_that_need_none(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(UserError, match="vgg16_bn or ssd7"):
        weights.fetch_imagenet("vgg16")


@pytest.mark.parametrize("setting", ["imagenet", "some.pth"])
def test_ssd7_has_no_pretrained_weights(setting):
    config = ModelConfig("ssd7", 96, setting)
    with pytest.raises(UserError, match="no pretrained weights for ssd7"):
        load_backbone(build_model(config, 3), config)


def test_a_missing_file_is_named(tmp_path):
    model, config = mobilenet(tmp_path / "absent.pth")
    with pytest.raises(UserError, match=r"absent.pth, but there is no such file"):
        load_backbone(model, config)


@pytest.mark.parametrize("keep", [0, 10, 1000, 100_000])
def test_a_truncated_file_is_damaged(keep, mobilenet_file):
    mobilenet_file.write_bytes(mobilenet_file.read_bytes()[:keep])
    model, config = mobilenet(mobilenet_file)
    with pytest.raises(UserError, match="cannot be read") as caught:
        load_backbone(model, config)
    assert "\n" not in str(caught.value)


def test_a_whole_pickled_model_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(nn.Linear(2, 2), path)
    model, config = mobilenet(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_backbone(model, config)


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
        load_backbone(model, config)


def test_misfits_are_named_and_change_nothing(mobilenet_file):
    state = torch.load(mobilenet_file, weights_only=True)
    state["features.0.0.weight"] = torch.zeros(2, 2)
    state["features.99.weight"] = torch.zeros(1)
    del state["features.16.1.bias"]
    torch.save(state, mobilenet_file)
    model, config = mobilenet(mobilenet_file)
    before = model.backbone.features[0][1].weight.clone()
    with pytest.raises(UserError) as caught:
        load_backbone(model, config)
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
    load_backbone(*mobilenet(mobilenet_file))


def test_fc6_and_fc7_are_the_subsampled_fully_connected_layers():
    """Each kept number says where it came from."""
    fc = nn.Sequential(nn.Conv2d(512, 1024, 3), nn.ReLU(), nn.Conv2d(1024, 1024, 1))
    first = torch.zeros(4096, 512, 7, 7)
    first[:] = 49 * (torch.arange(512) % 100)[:, None, None] + torch.arange(49).view(7, 7)
    first += torch.arange(4096)[:, None, None, None] * 8192
    state = {
        "classifier.0.weight": first.view(4096, -1),
        "classifier.0.bias": torch.arange(4096.0),
        "classifier.3.weight": torch.arange(4096.0)[:, None] * 4096 + torch.arange(4096.0),
        "classifier.3.bias": torch.arange(4096.0),
    }
    load_fc(fc, state, "test")
    assert fc[0].weight[3, 7, 1, 2] == 12 * 8192 + 7 * 49 + 3 * 7 + 6
    assert fc[0].weight[1023, 511, 2, 0] == 4092 * 8192 + 11 * 49 + 6 * 7
    assert fc[2].weight[5, 9, 0, 0] == 20 * 4096 + 36
    assert fc[0].bias[2] == fc[2].bias[2] == 8


def test_torchvision_names():
    assert torchvision_ssd300_name("backbone.features.21.bias") == "backbone.features.21.bias"
    assert torchvision_ssd300_name("backbone.extra.0.5.weight") == "backbone.features.28.weight"
    assert torchvision_ssd300_name("backbone.extra.0.7.3.weight") == "backbone.fc.3.weight"
    assert torchvision_ssd300_name("backbone.extra.4.2.bias") == "backbone.extras.3.2.bias"
