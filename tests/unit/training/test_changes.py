from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ssd.common.errors import UserError
from ssd.config import Config
from ssd.config.settings import SECTIONS, SETTING_NAMES, to_config, to_yaml
from ssd.data.order import Order
from ssd.run.checkpoint import Checkpoint, Manifest
from ssd.training.changes import ANOTHER_RUN, compare, settings_of
from ssd.training.resume import restore, snapshot
from tests.unit.training.tiny import new_state

MAY_CHANGE = {
    *("data.root", "data.classes", "data.workers", "data.cache", "data.cache_gb"),
    *("data.max_unreadable", "data.max_mended"),
    *("augment.engine", "augment.library", "augment.photometric", "augment.crop"),
    *("augment.photometric_after_resize", "augment.expand_probability", "augment.expand_max"),
    *("augment.crop_min_scale", "augment.flip_probability", "augment.mosaic_probability"),
    *("augment.mixup_probability", "augment.closing_share"),
    *("optimizer.lr", "optimizer.lr_images", "optimizer.weight_decay", "optimizer.bias_lr_factor"),
    *("optimizer.decay_bias_and_norm", "optimizer.schedule", "optimizer.warmup_steps"),
    *("optimizer.milestones", "optimizer.gamma"),
    *(
        "training.epochs",
        "training.min_steps",
        "training.steps",
        "training.batch_size",
        "training.accumulate",
    ),
    *("training.precision", "training.clip_norm", "training.sync_batchnorm"),
    *("training.max_skipped", "training.ema_decay", "training.deterministic", "training.device"),
    *("training.graph", "training.compile", "training.log_every", "checkpoint", "evaluation"),
}

OLDEST = to_config({"loss": {"short_step": "full"}})


def saved(config_yaml):
    return Checkpoint(Path("step_7"), Manifest(7, ["a"], None, {}), {}, config_yaml)


def test_every_setting_is_of_one_kind():
    """A new setting has to be put into one of them."""
    sections, names = set(SECTIONS), set(SETTING_NAMES)
    assert sections | names >= ANOTHER_RUN | MAY_CHANGE
    for name in SETTING_NAMES:
        both = {name, name.split(".")[0]}
        assert bool(both & ANOTHER_RUN) != bool(both & MAY_CHANGE), name


def test_what_may_change_is_listed_and_all_else_refused():
    checkpoint = saved(to_yaml(Config()))
    assert compare(checkpoint, Config()) == []
    changed = to_config({"optimizer": {"lr": 0.5}, "evaluation": {"metric": "coco"}})
    assert [(one.step, str(one)) for one in compare(checkpoint, changed)] == [
        (8, "optimizer.lr 0.001 -> 0.5"),
        (8, "evaluation.metric voc_area -> coco"),
    ]
    others = {"model": {"backbone": "vgg16", "input_size": 512}, "training": {"seed": 4}}
    several = to_config(others | {"loss": {"box_weight": 2.0}, "optimizer": {"lr": 0.5}})
    with pytest.raises(UserError, match=r"ssd7 there, but vgg16 here; .* and 1 more setting:"):
        compare(checkpoint, several)


@pytest.mark.parametrize("text", ["{}", "model:", "model: {gone: 1}\nnew: {a: b}", "data: 3"])
def test_a_config_of_another_version_is_compared_by_what_both_know(text):
    assert compare(saved(text), OLDEST) == []


def test_a_config_that_no_run_has_is_compared_too():
    settings = settings_of(saved("optimizer: {lr: 2026-01-01}\nmodel: {backbone: [1, 2]}"))
    assert settings["model.backbone"] == [1, 2]
    with pytest.raises(UserError, match=r"model.backbone is \[1, 2\] there"):
        compare(saved("optimizer: {lr: 2026-01-01}\nmodel: {backbone: [1, 2]}"), OLDEST)
    assert len(compare(saved("optimizer: {lr: 2026-01-01}"), OLDEST)) == 1


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (True, True)])
def test_the_precision_may_change(before, after):
    """Only fp16 has a scale of the loss, and a run without one leaves none in its checkpoint."""
    cpu = torch.device("cpu")
    scalers = [torch.amp.GradScaler("cpu", 2.0**8, enabled=on) for on in (before, after)]
    old, new = (replace(new_state(), scaler=scaler) for scaler in scalers)
    new.scaler._init_scale = 2.0**4
    content = snapshot(old, Order(8, 2, 1, 1, 0, False), {}, cpu)
    restore(replace(saved("{}"), state=content), new, cpu)
    assert new.scaler.get_scale() == (1.0 if not after else 2.0**8 if before else 2.0**4)
