"""`model.weights auto`: published weights, where they can be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ssd.common.errors import UserError
from ssd.config import ModelConfig
from ssd.model.foreign import TORCHVISION_SETTINGS
from ssd.model.timm_network import PREFIX, fetch_classifier
from ssd.model.weights import DETECTOR, IMAGENET, fetch, imagenet_weights

COST = "with few images, expect lower scores"


def choose_weights(config: ModelConfig) -> tuple[ModelConfig, str]:
    """Replaces `auto` by the file of the published weights that suit the network best.

    A whole detector is best, which there is for the settings of torchvision's SSD300, then the
    backbone of a classifier. A file in torchvision's cache is taken as it is; its name holds the
    start of its SHA-256. Weights for a network of timm stay in its own cache.

    Returns:
        The section with the file, with `imagenet` for a network of timm, or with `none`; and a
        line that says why there are none, or nothing.
    """
    name = config.backbone
    origin = "model.weights auto"
    try:
        if name.startswith(PREFIX):
            fetch_classifier(name.removeprefix(PREFIX), None, origin)
            return replace(config, weights="imagenet"), ""
        if name not in IMAGENET:
            return replace(config, weights="none"), f"random: nobody publishes any for {name}"
        is_theirs = all(
            getattr(config, setting) == value for setting, value in TORCHVISION_SETTINGS.items()
        )
        published = DETECTOR if is_theirs else imagenet_weights(config)
        return replace(config, weights=str(cached(published, name, origin))), ""
    except UserError as error:
        return replace(config, weights="none"), f"random; {COST}. {error}"


def cached(published: str, network: str, origin: str) -> Path:
    """The file of weights that torchvision publishes, which is fetched if it is not there."""
    from torchvision.models import get_weight

    name = get_weight(published).url.rsplit("/", 1)[-1]
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    if not path.is_file():
        print(f"{origin}: fetching {name}", flush=True)
        fetch(published, network, origin)
    return path
