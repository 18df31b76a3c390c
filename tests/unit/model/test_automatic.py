"""`model.weights auto`."""

import hashlib
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision.models import get_weight

from ssd.common.errors import UserError
from ssd.config import ModelConfig
from ssd.model.automatic import check_digest, choose_weights, published_for
from ssd.model.foreign import PUBLISHED
from ssd.model.weights import IMAGENET


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Torchvision's cache, without a network."""

    def refuse(*_args, **_others):
        raise URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    return tmp_path / "hub" / "checkpoints"


def put(cache: Path, published: str) -> Path:
    path = cache / get_weight(published).url.rsplit("/", 1)[-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("backbone", IMAGENET)
def test_a_cached_file_is_named(cache, backbone):
    path = put(cache, IMAGENET[backbone])
    assert published_for(ModelConfig(backbone, weights="auto")) == str(path)


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published.network)
def test_a_whole_detector_is_taken_where_all_settings_are_its_own(cache, published):
    put(cache, IMAGENET["vgg16"])
    detector = put(cache, published.weights)
    config = ModelConfig(weights="auto", **published.settings)
    assert published_for(config) == str(detector)


@pytest.mark.parametrize(
    ("backbone", "reason"),
    [
        ("ssd7", "nobody publishes weights for ssd7"),
        ("ssdlite", "have no published weights (configs/ssdlite_weights.yaml has all that"),
        ("resnet50", "cannot be fetched (<urlopen error"),
    ],
)
def test_without_any_a_line_says_why(backbone, reason):
    config, told = choose_weights(ModelConfig(backbone, weights="auto"))
    assert config == ModelConfig(backbone, weights="none")
    assert told.startswith("random")
    assert reason in told


def test_timm_keeps_its_own_cache(monkeypatch):
    timm = pytest.importorskip("timm", reason="needs timm: pip install timm")
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda *name, **more: asked.append((name, more)))
    config, told = choose_weights(ModelConfig("timm:resnet18", weights="auto"))
    assert (config.weights, told) == ("imagenet", "")
    assert asked == [(("resnet18",), {"pretrained": True})]


def test_a_fetched_file_is_the_cached_one(cache, monkeypatch):
    def fetch(*_args, **_others):
        put(cache, IMAGENET["resnet50"])
        return {"conv1.weight": torch.zeros(1)}

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    assert Path(published_for(ModelConfig("resnet50", weights="auto"))).is_file()


def test_a_file_that_is_not_what_was_published_is_named(cache, tmp_path):
    path = put(cache, IMAGENET["resnet50"])
    with pytest.raises(UserError, match=rf"{path} is not what was published .* remove it"):
        choose_weights(ModelConfig("resnet50", weights="auto"))
    sound = tmp_path / f"net-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    sound.write_bytes(b"weights")
    check_digest(sound)


def test_nothing_cannot_be_frozen():
    with pytest.raises(UserError, match="nothing to freeze.*nobody publishes weights for ssd7"):
        choose_weights(ModelConfig("ssd7", weights="auto", freeze="backbone"))
