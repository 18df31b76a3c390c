from dataclasses import replace

import pytest
import torch

from ssd.common.errors import UserError
from ssd.config import Config, ModelConfig
from ssd.config.settings import to_yaml
from ssd.model.ssd import build_model
from ssd.run.checkpoint import save_checkpoint
from ssd.training.initial import load_initial

SMALL = ModelConfig("ssd7", 96)


@pytest.fixture
def run(tmp_path):
    """A run folder with two checkpoints, and the model that the newer one averaged."""
    averaged = build_model(SMALL, 3)
    for step, average in ((1, None), (2, averaged.state_dict())):
        state = {"model": build_model(SMALL, 3).state_dict(), "average": average}
        folder = tmp_path / "run" / "checkpoints"
        save_checkpoint(folder, step, state, to_yaml(Config(model=SMALL)), ["cat", "dog"])
    return tmp_path / "run", averaged


def test_a_run_gives_the_averaged_weights_of_its_newest_checkpoint(run):
    folder, averaged = run
    config = ModelConfig("ssd7", 96, str(folder))
    model = build_model(config, 3)
    told = load_initial(model, config, ["cat", "dog"])
    assert told == f"{folder}/checkpoints/step_2 (classes kept: cat, dog)"
    expected = averaged.state_dict()
    assert all(torch.equal(t, expected[name]) for name, t in model.state_dict().items())


def test_a_checkpoint_gives_its_own_weights_to_another_class_list(run):
    folder, averaged = run
    config = ModelConfig("ssd7", 96, str(folder / "checkpoints" / "step_1"))
    model = build_model(config, 4)
    told = load_initial(model, config, ["dog", "bird", "cow"])
    assert told.endswith("step_1 (classes kept: dog; fresh: bird, cow)")
    assert not torch.equal(model.backbone.stem[0].weight, averaged.backbone.stem[0].weight)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"backbone": "mobilenet_v3_large"}, "backbone is mobilenet_v3_large, .* need ssd7"),
        ({"clamp_boxes": True}, "clamp_boxes is True, but these weights need False"),
        ({"pixel_std": [1, 1, 1]}, r"pixel_std is \[1, 1, 1\], .*step_2/config.yaml"),
    ],
)
def test_a_run_of_another_model_is_refused(run, changed, says):
    config = replace(ModelConfig("ssd7", 96, str(run[0])), **changed)
    with pytest.raises(UserError, match=says):
        load_initial(build_model(config, 3), config, ["cat", "dog"])


@pytest.mark.parametrize("sizes", [None, [8.96, 21.76, 46.08, 79.36, 121.6]])
def test_a_run_may_go_on_at_another_input_size(run, sizes):
    """With boxes that grow with it, which are the backbone's own unless they are given."""
    config = ModelConfig("ssd7", 128, str(run[0]), sizes)
    assert "step_2" in load_initial(build_model(config, 3), config, ["cat", "dog"])


def test_a_run_may_go_on_at_another_height_than_width(run):
    """With boxes that grow with the shorter side."""
    for size, sizes in (([128, 200], [8.96, 21.76, 46.08, 79.36, 121.6]), ([192, 96], None)):
        config = ModelConfig("ssd7", size, str(run[0]), sizes)
        assert "step_2" in load_initial(build_model(config, 3), config, ["cat", "dog"])
    config = ModelConfig("ssd7", [128, 200], str(run[0]), [6.72, 16.32, 34.56, 59.52, 91.2])
    with pytest.raises(UserError, match=r"need \[8.96, 21.76, .*\] at input size 128x200"):
        load_initial(build_model(config, 3), config, ["cat", "dog"])


def test_default_boxes_of_another_size_are_refused(run):
    config = ModelConfig("ssd7", 128, str(run[0]), [6.72, 16.32, 34.56, 59.52, 91.2])
    with pytest.raises(UserError, match=r"need \[8.96, 21.76, .*\] at input size 128"):
        load_initial(build_model(config, 3), config, ["cat", "dog"])


def test_a_folder_of_something_else_is_no_run(tmp_path):
    config = ModelConfig("ssd7", 96, str(tmp_path))
    with pytest.raises(UserError, match=r"model\.weights is .*, which is neither a run") as caught:
        load_initial(build_model(config, 3), config, ["cat", "dog"])
    assert "\n" not in str(caught.value)


def test_the_names_of_published_weights_win_over_folders(tmp_path):
    (tmp_path / "none").mkdir()
    assert load_initial(build_model(SMALL, 3), SMALL, ["cat", "dog"]) == "random"


def test_a_pyramid_keeps_the_backbone_of_a_run_without_one(run, tmp_path):
    folder, averaged = run
    config = ModelConfig("ssd7", 96, str(folder), pyramid=16)
    model = build_model(config, 3)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    told = load_initial(model, config, ["cat", "dog"])
    assert told.endswith("(the backbone; all else is fresh, since model.pyramid differs)")
    own, given = model.state_dict(), averaged.state_dict()
    for name, value in own.items():
        assert torch.equal(value, (given if name.startswith("backbone.") else fresh)[name]), name
    saved = Config(model=replace(SMALL, pyramid=16))
    state = {"model": own, "average": None}
    save_checkpoint(tmp_path / "new" / "checkpoints", 3, state, to_yaml(saved), ["cat", "dog"])
    same = replace(config, weights=str(tmp_path / "new"))
    model = build_model(same, 3)
    assert load_initial(model, same, ["cat", "dog"]).endswith("(classes kept: cat, dog)")
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    for width in (0, 8):
        other = replace(same, pyramid=width)
        assert "the backbone; all" in load_initial(build_model(other, 3), other, ["cat", "dog"])
