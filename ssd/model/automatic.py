"""`model.weights auto`: published weights, where they can be had."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from ssd.common.errors import UserError
from ssd.config import ModelConfig
from ssd.model.foreign import published_detector
from ssd.model.timm_network import PREFIX, fetch_classifier
from ssd.model.weights import IMAGENET, fetch, imagenet_weights, overlay

ORIGIN = "model.weights auto"
COST = "with few images, expect lower scores"


def choose_weights(config: ModelConfig) -> tuple[ModelConfig, str]:
    """Replaces `auto` by the file of the published weights that suit the network best.

    Returns:
        The section with the file, with `imagenet` for a network of timm, or with `none`; and a
        line that says why there are none, or nothing.

    Raises:
        UserError: there are none, but they are to be frozen; or the file is not what was published.
    """
    try:
        found = published_for(config)
    except UserError as error:
        if config.freeze == "backbone":
            raise UserError(
                f"model.freeze is backbone, but there is nothing to freeze. {error}"
            ) from error
        return replace(config, weights="none"), f"random; {COST}. {error}"
    if found != "imagenet":
        check_digest(Path(found))
    return replace(config, weights=found), ""


def published_for(config: ModelConfig) -> str:
    """The file of the weights, or `imagenet` for a network of timm, which has its own cache.

    A whole detector is best, which there is for the settings of torchvision's two, then the
    backbone of a classifier.

    Raises:
        UserError: there are none, or they can not be fetched.
    """
    name = config.backbone
    if name.startswith(PREFIX):
        fetch_classifier(name.removeprefix(PREFIX), None, ORIGIN)
        return "imagenet"
    detector = published_detector(name)
    if all(getattr(config, setting) == value for setting, value in detector.settings.items()):
        return str(cached(detector.weights, detector.network))
    if name not in IMAGENET:
        reason = f"nobody publishes weights for {name}"
        if name == detector.settings["backbone"]:
            reason = f"these settings have no published weights ({overlay(detector)})"
        raise UserError(f"{ORIGIN}: {reason}")
    return str(cached(imagenet_weights(config), name))


def check_digest(file: Path) -> None:
    """Raises a UserError unless a file has the SHA-256 that begins as its name ends."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if not digest.startswith(file.stem.rsplit("-", 1)[-1]):
        raise UserError(
            f"{ORIGIN}: {file} is not what was published (its SHA-256 is {digest[:8]}…): remove "
            "it, and it is fetched anew"
        )


def cached(published: str, network: str) -> Path:
    """The file of weights that torchvision publishes, which is fetched if it is not there."""
    from torchvision.models import get_weight

    name = get_weight(published).url.rsplit("/", 1)[-1]
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    if not path.is_file():
        print(f"{ORIGIN}: fetching {name}", flush=True)
        fetch(published, network, ORIGIN)
    return path
