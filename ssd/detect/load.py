"""A run folder or a checkpoint → the detector that it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ssd.augment.batch import preprocess_of
from ssd.common.errors import UserError, one_line
from ssd.config import Config
from ssd.config.settings import Flat, Settings, nested, parse_yaml, put_over, to_config
from ssd.detect.detector import Detector
from ssd.model.device import autocast_dtype, choose_device
from ssd.model.ssd import build_model
from ssd.run.checkpoint import MANIFEST_FILE, Checkpoint, load_checkpoint
from ssd.run.checkpoints import choose
from ssd.run.names import CHECKPOINTS


def load(
    run: str | Path,
    device: str = "auto",
    settings: Flat | None = None,
    checkpoint: str | int | None = None,
) -> Detector:
    """The detector of a run.

    Args:
        run: run folder or checkpoint folder.
        device: `auto`, `cpu` or `cuda`.
        settings: settings that differ from those of the run, such as
            `{"evaluation.nms_iou": 0.5}`.
        checkpoint: of a run folder: `best` (the default; the newest if none was evaluated),
            `last`, or a step.

    Raises:
        UserError: there is no intact checkpoint, or a setting is unknown or impossible.
    """
    found = open_checkpoint(Path(run), None if checkpoint is None else str(checkpoint))
    overrides = nested({"training.device": device, **(settings or {})})
    return build_detector(found, config_of(found, overrides))


def open_checkpoint(path: Path, which: str | None = None) -> Checkpoint:
    """The checkpoint at `path`, or one of the run folder `path`.

    Args:
        path: run folder or checkpoint folder.
        which: of a run folder: `best` (the default; the newest if none was evaluated), `last`, or
            a step.

    Raises:
        UserError: there is none, or it is damaged.
    """
    if not path.is_dir():
        raise UserError(
            f"{path} is not a folder: give a run folder, or a checkpoint such as "
            "runs/mine/checkpoints/step_1000"
        )
    if not (path / CHECKPOINTS).is_dir():
        if not (path / MANIFEST_FILE).exists():
            raise UserError(f"{path} holds no run and is no checkpoint: give a run folder")
        if which is not None:
            raise UserError(f"{path} is a checkpoint itself: leave --checkpoint {which} out")
        found = load_checkpoint(path)
        return replace(found, choice=f"step {found.manifest.step}, as given")
    return choose(path, which or "best")


def config_of(checkpoint: Checkpoint, overrides: Settings) -> Config:
    """The config that a checkpoint was trained with, changed by `overrides`."""
    settings = parse_yaml(checkpoint.config_yaml, f"the config of {checkpoint.path}")
    put_over(settings, overrides)
    return to_config(settings)


def build_detector(checkpoint: Checkpoint, config: Config) -> Detector:
    """The detector that a checkpoint holds, with averaged weights if it has them.

    Raises:
        UserError: the config describes a different model from the one that was saved.
    """
    device = choose_device(config.training.device)
    model = build_model(config.model, len(checkpoint.manifest.classes) + 1)
    try:
        model.load_state_dict(checkpoint.weights)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{checkpoint.path} does not fit the model of its config ({one_line(error)[:300]}): "
            "leave out the flags that change the model, or train anew"
        ) from error
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    preprocess = preprocess_of(config.model, config.augment)
    dtype = autocast_dtype(config.training.precision, device)
    classes = tuple(checkpoint.manifest.classes)
    return Detector(model.eval(), preprocess, classes, dtype, config.evaluation)
