"""Initial weights: pretrained backbones and whole detectors, fetched or read from files."""

from __future__ import annotations

import os.path
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError

from ssd.common.errors import UserError, one_line
from ssd.common.tensor_file import is_plain, load_tensors
from ssd.common.untrusted import short
from ssd.config import ModelConfig
from ssd.model.foreign import (
    PUBLISHED,
    REDUCED_VGG_SETTINGS,
    SSD_PYTORCH_CLASSES,
    TORCHVISION_CLASSES,
    VOC_BOX_SIZES,
    Published,
    StateDict,
    published_detector,
    ssd_pytorch_name,
    ssd_pytorch_settings,
)
from ssd.model.ssd import SSD
from ssd.model.timm_network import TimmNetwork, load_timm_classifier
from ssd.model.transfer import SSDLITE_NEEDS, load_classifier, load_detector, load_reduced_vgg

PAGE = "docs/weights.md has what weights need"
NAMED = ("none", "auto", "imagenet", "torchvision")
SECONDS_WITHOUT_ANSWER = 20.0

IMAGENET = {
    "vgg16": "VGG16_Weights.IMAGENET1K_V1",
    "vgg16_bn": "VGG16_BN_Weights.IMAGENET1K_V1",
    "resnet50": "ResNet50_Weights.IMAGENET1K_V2",
    "mobilenet_v3_large": "MobileNet_V3_Large_Weights.IMAGENET1K_V1",
}


def load_weights(model: SSD, config: ModelConfig, classes: Sequence[str]) -> str:
    """Loads the weights that `config.weights` names, unless it names a run, into the model.

    A file's keys tell its layout. A classifier fills the layers that the backbone shares with it;
    a whole detector fills the model, except for classes it does not know. Everything else keeps
    its random weights.

    Args:
        model: fresh from `build_model`.
        config: the settings it was built from.
        classes: names of its classes, without the background.

    Returns:
        A short description of the initial weights.

    Raises:
        UserError: if the weights cannot be fetched or read, or do not fit the model or its
            settings.
    """
    if config.weights == "none":
        return "random"
    origin = f"model.weights {config.weights}"
    if config.weights == "imagenet" and isinstance(model.backbone, TimmNetwork):
        return f"{config.weights} ({load_timm_classifier(model.backbone, None, origin)})"
    state = fetch_or_read(config, origin)
    theirs = [detector for detector in PUBLISHED if detector.sign in state]
    if theirs:
        refuse_settings(config, theirs[0].settings, origin, overlay(theirs[0]))
        layout = theirs[0].layout
        told = load_detector(model, state, layout, TORCHVISION_CLASSES, classes, origin)
    elif "vgg.0.weight" in state:
        resolved = replace(config, box_sizes=config.box_sizes or VOC_BOX_SIZES)  # VGG's default
        refuse_settings(resolved, ssd_pytorch_settings(state), origin)
        told = load_detector(model, state, ssd_pytorch_name, SSD_PYTORCH_CLASSES, classes, origin)
    elif "0.weight" in state:
        refuse_settings(config, REDUCED_VGG_SETTINGS, origin)
        told = load_reduced_vgg(model, state, origin)
    else:
        told = load_classifier(model.backbone, state, origin)
    return f"{config.weights} ({told})"


def fetch_or_read(config: ModelConfig, origin: str) -> StateDict:
    """The tensors that `config.weights` names: published ones or those of a file."""
    match config.weights:
        case "imagenet" if config.backbone == "ssdlite":
            raise UserError(f"{origin}: {SSDLITE_NEEDS}")
        case "imagenet" if config.backbone == "ssd7":
            raise UserError(
                f"{origin}: there are no pretrained weights for ssd7: set model.weights to none, "
                "or to the folder of a run with ssd7"
            )
        case "imagenet":
            return fetch(imagenet_weights(config), config.backbone, origin)
        case "torchvision":
            # Checked first, so that a mistake does not cost a download of 136 MB.
            detector = published_detector(config.backbone)
            refuse_settings(config, detector.settings, origin, overlay(detector))
            return fetch(detector.weights, detector.network, origin)
        case path:
            return read_state_dict(Path(os.path.expanduser(path)))  # keeps an unknown ~user


def imagenet_weights(config: ModelConfig) -> str:
    """The name of torchvision's ImageNet weights of a backbone, for the scale of its pixels.

    VGG16 has two sets: one for pixels that are divided by the standard deviation and one, ported
    from Caffe via ssd.pytorch, for pixels that are not. Source: `torchvision/models/vgg.py`.
    """
    if config.backbone == "vgg16" and config.pixel_std == [1, 1, 1]:
        return "VGG16_Weights.IMAGENET1K_FEATURES"
    return IMAGENET[config.backbone]


def fetch(weights: str, network: str, origin: str) -> StateDict:
    """Weights that torchvision publishes, by their name, from its cache or the network."""
    from torchvision.models import get_weight  # imports PyTorch's compiler, which takes a second

    found = get_weight(weights)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_ANSWER)
    try:
        state: StateDict = found.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        instead = (
            " (vgg16_bn and ssd7 train better from random weights)" if network == "vgg16" else ""
        )
        raise UserError(
            f"{origin}: the weights of {network} cannot be fetched ({one_line(error)[:120]}): "
            f"--model.weights PATH takes a local torchvision state_dict of {network}, and "
            f"--model.weights none starts from random weights{instead}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return state


def read_state_dict(path: Path) -> StateDict:
    """The tensors, by name, of a file that `torch.save` wrote."""
    if not path.is_file():
        raise UserError(
            f"model.weights is {path}, but there is no such file: give auto, imagenet, "
            "torchvision, none, a run folder or the path of a state_dict"
        )
    try:
        with path.open("rb") as file:
            state = load_tensors(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model.weights {path} cannot be read ({one_line(error)}): "
            "the file is damaged or was not written by torch.save(model.state_dict())"
        ) from error
    if isinstance(state, dict) and all(
        isinstance(name, str) and is_plain(value) for name, value in state.items()
    ):
        return state
    found = (
        f"{type(state).__name__} of {short(list(state)[:3])}"
        if isinstance(state, dict)
        else type(state).__name__
    )
    raise UserError(
        f"model.weights {path} holds a {found}, but has to hold a state_dict: tensors by name"
    )


def overlay(detector: Published) -> str:
    """The recipe with the settings of a detector, in a few words."""
    return f"configs/{detector.recipe}.yaml has all that torchvision's {detector.network} needs"


def refuse_settings(
    config: ModelConfig, wanted: Mapping[str, object], origin: str, advice: str = PAGE
) -> None:
    """Raises a UserError unless the model has the settings that the weights need."""

    def in_yaml(value: object) -> object:
        return "null" if value is None else value

    for name, value in wanted.items():
        found = getattr(config, name)
        if found != value:
            told = f"use that value ({advice})"
            if config.fit_boxes and name in ("box_sizes", "aspect_ratios"):
                told = "leave model.fit_boxes out"
            raise UserError(
                f"{origin}: model.{name} is {in_yaml(found)}, but these weights need "
                f"{in_yaml(value)}: {told}"
            )
