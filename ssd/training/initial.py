"""What a new run starts from: published weights, a file, or what another run has learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.config import ModelConfig
from ssd.errors import UserError
from ssd.model.foreign import own_name
from ssd.model.ssd import SSD
from ssd.model.transfer import load_detector
from ssd.model.weights import NAMED, load_weights, refuse_settings
from ssd.training.checkpoint import CONFIG_FILE
from ssd.training.trained import config_of, open_checkpoint

# Another input size is fine: the sizes of default boxes that are not given grow with it.
BELONGS_TO_WEIGHTS = ("backbone", "box_sizes", "clamp_boxes", "pixel_mean", "pixel_std")


def load_initial(model: SSD, config: ModelConfig, classes: Sequence[str]) -> str:
    """Gives the model the weights that `config.weights` names, those of a run included.

    Args:
        model: fresh from `build_model`.
        config: what it was built from.
        classes: names of its classes, without the background.

    Returns:
        What the model starts from, in a few words.

    Raises:
        UserError: if the weights cannot be fetched or read, or do not fit the model or its
            settings.
    """
    path = Path(config.weights).expanduser()
    if config.weights in NAMED or not path.is_dir():
        return load_weights(model, config, classes)
    try:
        checkpoint = open_checkpoint(path)
    except UserError as error:
        raise UserError(
            f"model.weights is {path}, which is no run or checkpoint: {error}"
        ) from error
    known = {len(checkpoint.manifest.classes) + 1: checkpoint.manifest.classes}
    origin = f"model.weights {checkpoint.path}"
    saved = config_of(checkpoint, {}).model
    wanted = {name: getattr(saved, name) for name in BELONGS_TO_WEIGHTS}
    refuse_settings(config, wanted, origin, f"its config is {checkpoint.path / CONFIG_FILE}")
    told = load_detector(model, checkpoint.weights, own_name, known, classes, origin)
    return f"{checkpoint.path} ({told})"
