"""What is refused, and what is left behind; that outputs are equal stands in tests/parity."""

import errno
from pathlib import Path

import pytest
import torch
from torchvision.models.detection import ssd300_vgg16

from ssd.common.errors import UserError
from ssd.config import AugmentConfig, Config, ModelConfig
from ssd.config.settings import to_yaml
from ssd.detect.export import export, torchvision_lines
from ssd.model.ssd import build_model
from ssd.run.checkpoint import save_checkpoint


def checkpoint_of(config, folder, average=None):
    state = {"model": build_model(config.model, 3).state_dict(), "average": average}
    return save_checkpoint(folder, 1, state, to_yaml(config), ["cat", "dog"])


def test_the_file_is_a_state_dict_of_torchvisions_model_with_averaged_weights(tmp_path):
    config = Config(model=ModelConfig("vgg16", 300))
    averaged = build_model(config.model, 3)
    checkpoint = checkpoint_of(config, tmp_path, averaged.state_dict())
    lines, using = export(checkpoint, tmp_path / "new" / "model.pth")
    assert using.startswith("using step 1, as given (")
    assert "num_classes=3" in lines
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.pth"]
    state = torch.load(tmp_path / "new" / "model.pth", weights_only=True)
    with torch.device("meta"):
        theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=3)
    theirs.load_state_dict(state, assign=True)
    assert torch.equal(theirs.backbone.scale_weight, averaged.backbone.conv4_3_norm.weight)
    assert torch.equal(theirs.backbone.features[0].weight, averaged.backbone.features[0].weight)


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    checkpoint = checkpoint_of(Config(model=ModelConfig("vgg16", 300)), tmp_path / "run")

    def fail(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        export(checkpoint, tmp_path / "model.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_other_models_and_other_files_are_refused(tmp_path):
    checkpoint = checkpoint_of(Config(model=ModelConfig("ssd7", 96)), tmp_path)
    with pytest.raises(UserError, match="is ssd7 at 96 pixels, .* vgg16 at 300 only"):
        export(checkpoint, tmp_path / "model.pth")
    with pytest.raises(
        UserError, match=r"model\.bin, but has to end in \.onnx, \.xml, \.pt2 or \.pth"
    ):
        export(checkpoint, tmp_path / "model.bin")


@pytest.mark.parametrize("antialias", [True, False])
def test_images_that_are_shrunk_otherwise_are_told_of(antialias):
    config = Config(model=ModelConfig("vgg16"), augment=AugmentConfig(antialias=antialias))
    lines = torchvision_lines(config, Path("model.pth"), 3)
    compile(lines, "lines", "exec")
    assert ("antialiasing" in lines) == antialias
