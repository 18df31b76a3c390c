"""Any convolutional network of the package timm as a backbone: `model.backbone timm:NAME`.

The network gives the maps of strides 8, 16 and 32; additional layers halve the last one until a
single position is left, as in SSD300. timm is an extra: `pip install timm`.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssd.common.errors import UserError, one_line
from ssd.common.sides import Size, both, in_words
from ssd.model.layers import BatchNorm, HalvingConv, halved, xavier_init

PREFIX = "timm:"
STRIDES = (8, 16, 32)
EXTRA_CHANNELS = 256
FINEST, FIRST, LAST = 0.07, 0.15, 1.05  # sizes of default boxes relative to the input


class TimmNetwork(nn.Module):
    """Feature maps of strides 8, 16, 32, 64 … from images [B, 3, H, W].

    `features` has the names of timm's own feature extractor.

    Args:
        name: of the network in timm.
        input_size: H and W, or one number if they are equal.

    Raises:
        UserError: timm is missing, or has no such network, or the network has other strides.
    """

    separable_head = False
    first_stride = 8

    def __init__(self, name: str, input_size: Size) -> None:
        super().__init__()
        check_name(name)
        self.name = name
        self.features = feature_extractor(name)
        self.map_sizes = sizes_of_maps(self.features, input_size, name)
        channels = list(self.features.feature_info.channels())
        self.extras = nn.ModuleList()
        while max(self.map_sizes[-1]) > 1:
            self.extras.append(extra_block(channels[-1]))
            channels.append(EXTRA_CHANNELS)
            self.map_sizes += halved(self.map_sizes[-1], [1])
        xavier_init(self.extras)
        self.channels = channels
        maps = len(channels)
        scales = [FINEST, *np.linspace(FIRST, LAST, maps).tolist()]
        self.box_sizes = [round(scale * min(both(input_size)), 2) for scale in scales]
        inner = ((2.0, 3.0),) * max(0, maps - 3)
        self.aspect_ratios: tuple[tuple[float, ...], ...] = ((2.0,), *inner, *((2.0,),) * 2)[-maps:]

    def forward(self, images: Tensor) -> list[Tensor]:
        """The feature maps, finest first."""
        maps = list(self.features(images))
        for halve in self.extras:
            maps.append(halve(maps[-1]))
        return maps


def feature_extractor(name: str, **more: Any) -> Any:
    """Timm's network without its classifier; `more` goes to `timm.create_model`.

    Raises:
        UserError: timm is missing, or has no such network, or the network has other strides.
    """
    timm = import_timm()
    try:
        network = timm.create_model(name, features_only=True, **more)
        strides = list(network.feature_info.reduction())
        if not set(STRIDES) <= set(strides):
            raise ValueError(f"its maps have strides {strides}")
        places = [strides.index(stride) for stride in STRIDES]
        return timm.create_model(name, features_only=True, out_indices=places, **more)
    except (RuntimeError, ValueError, AttributeError, TypeError, AssertionError) as error:
        raise UserError(
            f"model.backbone {PREFIX}{name} has no feature maps of strides 8, 16 and 32 "
            f"({one_line(error)[:120]}): take a convolutional network, such as "
            f"{PREFIX}resnet18 or {PREFIX}tf_efficientnet_lite0"
        ) from error


def import_timm() -> ModuleType:
    """The package; raises a UserError where it is missing."""
    for package in ("timm", "huggingface_hub"):  # they tell at length what they leave out or retry
        logging.getLogger(package).setLevel(logging.ERROR)
    try:
        import timm
    except ImportError as error:
        raise UserError(
            f"model.backbone {PREFIX}NAME needs the package timm: pip install timm"
        ) from error
    module: ModuleType = timm
    return module


def check_name(name: str) -> None:
    """Raises a UserError unless timm itself has a network of this name."""
    timm = import_timm()
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), 3)
        hint = f": did you mean {' or '.join(close)}?" if close else ""
        raise UserError(
            f"model.backbone {PREFIX}{name[:80]}: timm {timm.__version__} has no network of this "
            f"name{hint}"
        )


def sizes_of_maps(features: Any, input_size: Size, name: str) -> list[tuple[int, int]]:
    """Rows and columns of the network's maps for images [B, 3, H, W]."""
    reason = "its maps are not [B, channels, height, width]"
    channels = features.feature_info.channels()
    try:
        with torch.no_grad():
            maps = features.eval()(torch.zeros(1, 3, *both(input_size)))
        features.train()
        if [each.shape[1:-2] for each in maps] == [(count,) for count in channels]:
            return [(each.shape[2], each.shape[3]) for each in maps]
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = one_line(error)[:120]
    raise UserError(
        f"model.backbone {PREFIX}{name} cannot take images of model.input_size "
        f"{in_words(input_size)} ({reason}): take another size or network"
    )


def extra_block(channels: int) -> nn.Sequential:
    """Halves the map, rounded up: 1×1, then 3×3 of stride 2, each with BatchNorm and ReLU."""
    middle = EXTRA_CHANNELS // 2
    return nn.Sequential(
        nn.Conv2d(channels, middle, 1, bias=False),
        BatchNorm(middle),
        nn.ReLU(inplace=True),
        HalvingConv(middle, EXTRA_CHANNELS, 3, stride=2, padding=1, bias=False),
        BatchNorm(EXTRA_CHANNELS),
        nn.ReLU(inplace=True),
    )


def load_timm_classifier(
    backbone: TimmNetwork, state: Mapping[str, Tensor] | None, origin: str
) -> str:
    """Copies a classifier's layers into the backbone.

    Args:
        backbone: fresh.
        state: of timm's classifier of this name; None for the published weights, which timm takes
            from its cache or fetches.
        origin: name of the weights in error messages.

    Returns:
        A short description, with the scale of the pixels that the classifier saw.

    Raises:
        UserError: the weights do not fit, or cannot be fetched.
    """
    trained = fetch_classifier(backbone.name, state, origin)
    overlay = {"state_dict": trained.state_dict()}
    filled = feature_extractor(backbone.name, pretrained=True, pretrained_cfg_overlay=overlay)
    backbone.features.load_state_dict(filled.state_dict())
    mean, std = (
        [round(255 * value, 3) for value in trained.pretrained_cfg[key]] for key in ("mean", "std")
    )
    return f"the backbone, made for model.pixel_mean {mean} and model.pixel_std {std}"


def fetch_classifier(name: str, state: Mapping[str, Tensor] | None, origin: str) -> Any:
    """Timm's classifier of a name, as `load_timm_classifier` takes it."""
    given = {} if state is None else {"pretrained_cfg_overlay": {"state_dict": dict(state)}}
    check_name(name)
    try:
        # The whole classifier first, since timm compares all names and shapes there alone.
        return import_timm().create_model(name, pretrained=True, **given)
    except Exception as error:  # of the network, the cache, or the tensors
        fault = "cannot be fetched" if state is None else "are not in this file"
        raise UserError(
            f"{origin}: the weights of {PREFIX}{name} {fault} ({one_line(error)[:200]} …): give "
            "the path of a state_dict of timm's classifier of this name, or --model.weights none, "
            "with --model.freeze none if the backbone is frozen"
        ) from error
