"""The initial weights of a new run: published ones, those in a file, or those of another run."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.sides import in_words
from ssd.config import ModelConfig
from ssd.detect.load import config_of, open_checkpoint
from ssd.model.foreign import own_name
from ssd.model.ssd import SSD
from ssd.model.transfer import load_detector
from ssd.model.weights import NAMED, load_weights, refuse_settings
from ssd.run.names import CONFIG

BELONGS_TO_WEIGHTS = ("backbone", "aspect_ratios", "clamp_boxes", "pixel_mean", "pixel_std")
SAME_SIZE = 1e-3  # as a share of the input's shorter side


def load_initial(model: SSD, config: ModelConfig, classes: Sequence[str]) -> str:
    """Loads the weights that `config.weights` names, which may be those of a run.

    Args:
        model: fresh from `build_model`.
        config: the section of the config that it was built from.
        classes: names of its classes, without the background.

    Returns:
        The source of the weights, in a few words.

    Raises:
        UserError: the weights cannot be fetched or read, or do not fit the model or its settings.
    """
    path = Path(os.path.expanduser(config.weights))  # ~nobody stays as it is
    if config.weights in NAMED or not path.is_dir():
        return load_weights(model, config, classes)
    try:
        checkpoint = open_checkpoint(path)
    except UserError as error:
        raise UserError(
            f"model.weights is {path}, which is neither a run nor a checkpoint: {error}"
        ) from error
    known = {len(checkpoint.manifest.classes) + 1: checkpoint.manifest.classes}
    origin = f"model.weights {checkpoint.path}"
    saved = config_of(checkpoint, {}).model
    wanted = {name: getattr(saved, name) for name in BELONGS_TO_WEIGHTS}
    advice = f"its config is {checkpoint.path / CONFIG}"
    refuse_settings(config, wanted, origin, advice)
    refuse_other_boxes(model, config, saved, f"{origin} ({advice})")
    told = load_detector(model, checkpoint.weights, own_name, known, classes, origin)
    return f"{checkpoint.path} ({told})"


def refuse_other_boxes(model: SSD, config: ModelConfig, saved: ModelConfig, origin: str) -> None:
    """Raises a UserError unless the default boxes have the relative size that the weights had.

    Another input size is fine as long as the boxes scale with it.
    """
    default = [size / config.shorter_side for size in model.backbone.box_sizes]
    here, there = (
        default if one.box_sizes is None else [size / one.shorter_side for size in one.box_sizes]
        for one in (config, saved)
    )
    pairs = zip(here, there, strict=False)
    if len(here) != len(there) or any(abs(one - other) > SAME_SIZE for one, other in pairs):
        side = config.shorter_side
        found, needed = ([round(share * side, 2) for share in each] for each in (here, there))
        raise UserError(
            f"{origin}: model.box_sizes are {found}, but these weights need {needed} at input size "
            f"{in_words(config.input_size)}: set model.box_sizes to these values"
        )
