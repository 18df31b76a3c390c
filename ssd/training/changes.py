"""Compares a run that is about to resume with the one that its checkpoint was trained in.

Settings are of two kinds. Those in `ANOTHER_RUN` have to stay as they were. All others may change,
as long as the images, the classes and the images per step stay the same.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ssd.common.errors import UserError
from ssd.common.words import counted
from ssd.config import Config
from ssd.config.data import SHARE
from ssd.config.settings import SETTING_NAMES, parse_yaml, to_config
from ssd.data.order import Order
from ssd.run.changes import Change, value_text
from ssd.run.checkpoint import Checkpoint
from ssd.run.names import CONFIG
from ssd.structures import DataSet

# A section stands for all of its settings. `data.root` is not among them, so that data can be
# moved, nor is `augment`, so that the last epochs can do with less of it.
ANOTHER_RUN = {
    *("data.format", "data.train_split", "data.eval_split", "data.images", "data.annotations"),
    *("data.eval_share", "data.split_seed", "data.background", "data.train_difficult", "data.exif"),
    *("augment.antialias", "model", "loss"),
    *("optimizer.name", "optimizer.momentum", "optimizer.backbone_lr_factor"),
    *("training.seed", "training.drop_last"),
}
SHOWN = 3
ANOTHER_OUT = "or start a new run with another --out"


def compare(checkpoint: Checkpoint, config: Config) -> list[Change]:
    """The settings that differ from those of a checkpoint, all of which may change.

    Args:
        checkpoint: the checkpoint to resume from.
        config: the whole run, its data as `locate` returns it.

    Raises:
        UserError: a setting differs that makes another run of it.
    """
    old, new = settings_of(checkpoint), _flat(asdict(config))
    differ = [name for name in SETTING_NAMES if old[name] != new[name]]
    others = [name for name in differ if {name, name.split(".")[0]} & ANOTHER_RUN]
    if others:
        texts = [
            f"{name} is {value_text(old[name])} there, but {value_text(new[name])} here"
            for name in others[:SHOWN]
        ]
        more = (
            f", and {counted(len(others) - SHOWN, 'more setting')}" if len(others) > SHOWN else ""
        )
        raise UserError(
            f"{checkpoint.path} is of another run: {'; '.join(texts)}{more}: give the same "
            f"settings, which are in {checkpoint.path / CONFIG}, {ANOTHER_OUT}"
        )
    return [_change(checkpoint, name, old[name], new[name]) for name in differ]


def settings_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The settings that a checkpoint was trained with, by `section.key`.

    Those that its version did not know have the default of this one, and those that this one does
    not know are left out. A run that is older than `loss.short_step` counted its short steps in
    full.
    """
    saved = _flat(parse_yaml(checkpoint.config_yaml, f"the config of {checkpoint.path}"))
    before = _flat(asdict(Config())) | {"loss.short_step": "full"}
    return {name: saved.get(name, default) for name, default in before.items()}


def as_it_began(config: Config, checkpoint: Checkpoint) -> Config:
    """The config of a resumed run, with the `loss.short_step` that the run began with."""
    rule = settings_of(checkpoint)["loss.short_step"]
    began = to_config({"loss": {"short_step": rule}}).loss
    return replace(config, loss=replace(config.loss, short_step=began.short_step))


def keep_choices(config: Config, checkpoint: Checkpoint) -> Config:
    """The config of a resumed run, with the boxes and weights that it chose at its start."""
    began = to_config(parse_yaml(checkpoint.config_yaml, str(checkpoint.path / CONFIG))).model
    model = config.model
    if model.weights == "auto":
        model = replace(model, weights=began.weights)
    if model.fit_boxes and model.box_sizes is None:
        sizes, ratios = began.box_sizes, began.aspect_ratios
        model = replace(model, box_sizes=sizes, aspect_ratios=ratios)
    return replace(config, model=model)


def refuse_another_run(
    checkpoint: Checkpoint,
    config: Config,
    data: DataSet,
    order: Order,
    last_step: int,
    division: Path | None,
) -> None:
    """Refuses to resume with other images, classes or images per step, or with too short a run.

    The images may have changed where they lie, as more of them are collected.

    Args:
        checkpoint: the checkpoint to resume from.
        config: the whole run, its data as `locate` returns it.
        data: the images to train on.
        order: of these images.
        last_step: number of steps in the run.
        division: the file that keeps which images are held out.

    Raises:
        UserError: it does.
    """
    manifest, training = checkpoint.manifest, config.training
    if manifest.classes != list(data.classes):
        order_only = sorted(manifest.classes) == sorted(data.classes)
        raise UserError(
            f"{checkpoint.path} was trained on the classes {value_text(manifest.classes)}, but "
            f"here they are {value_text(list(data.classes))}{', in another order' * order_only}: "
            f"give the same data.classes, {ANOTHER_OUT}"
        )
    images_per_step = checkpoint.state.get("images_per_step")
    if images_per_step != order.images_per_step:
        raise UserError(
            f"{checkpoint.path} was trained with this number of images per step: "
            f"{images_per_step}, but here it is {order.images_per_step}: give the same "
            f"batch_size x accumulate x ranks, {ANOTHER_OUT}"
        )
    if last_step < manifest.step:
        epochs = f"training.epochs {training.epochs}, which is {last_step} steps,"
        length = epochs if training.steps is None else f"training.steps {training.steps}"
        raise UserError(
            f"{length} ends before step {manifest.step}, which {checkpoint.path} has reached: "
            f"give a longer training, evaluate it with ssd evaluate, {ANOTHER_OUT}"
        )
    root = settings_of(checkpoint)["data.root"]
    divided = config.data.eval_split == SHARE and not (division and division.exists())
    changed = changed_images(checkpoint, data)
    if changed and (root != config.data.root or divided):
        raise UserError(
            f"{checkpoint.path} was trained on other images: {changed.old} of data.root "
            f"{value_text(root)}, but {changed.new} of {config.data.root} here: give the same "
            f"data, {ANOTHER_OUT}"
        )


def changed_images(checkpoint: Checkpoint, data: DataSet) -> Change | None:
    """The change of the images to train on since a checkpoint; None if there is none.

    An older version's checkpoint does not know its images.
    """
    old, new = checkpoint.state.get("images"), fingerprint(data)
    if not isinstance(old, dict) or old == new:
        return None
    counts = old.get("count"), new["count"]
    others = f"{counts[1]} others" if counts[0] == counts[1] else counts[1]
    return _change(checkpoint, "images to train on", counts[0], others)


def fingerprint(data: DataSet) -> dict[str, Any]:
    """The number of images, and a hash of their image ids in order, for a checkpoint."""
    names = "\n".join(record.image_id for record in data.records)
    digest = hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
    return {"count": len(data.records), "sha256": digest}


def as_lines(changes: Sequence[Change]) -> str:
    """The history of a run as comments at the end of its config.yaml."""
    return "".join(f"# from step {change.step} on: {change}\n" for change in changes)


def _change(checkpoint: Checkpoint, setting: str, old: Any, new: Any) -> Change:
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return Change(checkpoint.manifest.step + 1, setting, old, new, now)


def _flat(sections: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, content in sections.items()
        if isinstance(content, dict)
        for key, value in content.items()
    }
