"""Pretrained weights: torchvision's ImageNet backbones, and its SSD300 as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V3_Large_Weights, VGG16_BN_Weights, VGG16_Weights

from ssd.config import ModelConfig
from ssd.errors import UserError
from ssd.model.ssd import SSD
from ssd.model.ssd7 import SSD7
from ssd.model.vgg import VGG16

StateDict = Mapping[str, Tensor]

IMAGENET = {
    "vgg16": VGG16_Weights.IMAGENET1K_V1,
    "vgg16_bn": VGG16_BN_Weights.IMAGENET1K_V1,
    "mobilenet_v3_large": MobileNet_V3_Large_Weights.IMAGENET1K_V1,
}
FULLY_CONNECTED = {
    "classifier.0.weight": torch.Size([4096, 512 * 7 * 7]),
    "classifier.0.bias": torch.Size([4096]),
    "classifier.3.weight": torch.Size([4096, 4096]),
    "classifier.3.bias": torch.Size([4096]),
}
SSD300_PREFIXES = {
    "backbone.scale_weight": "backbone.conv4_3_norm.weight",
    "backbone.extra.0.7.": "backbone.fc.",
    "head.classification_head.module_list.": "head.logits.",
    "head.regression_head.module_list.": "head.locations.",
}


def load_backbone(model: SSD, config: ModelConfig) -> None:
    """Gives the backbone the weights that `config.weights` names; `none` leaves it as it is.

    Both `imagenet` and a file give the `state_dict` of torchvision's classifier. Its `features` are
    taken as they are; VGG's fully connected layers, if they are there, become fc6 and fc7. All
    other layers keep their random weights.

    Raises:
        UserError: if the weights cannot be fetched or read, or do not fit.
    """
    if config.weights == "none":
        return
    backbone = model.backbone
    if isinstance(backbone, SSD7):
        raise UserError(
            f"model.weights is {config.weights}, but there are no pretrained weights for ssd7: "
            "set model.weights to none"
        )
    if config.weights == "imagenet":
        state = fetch_imagenet(config.backbone)
    else:
        state = read_state_dict(Path(config.weights).expanduser())
    origin = f"model.weights {config.weights}"
    load_features(backbone.features, state, origin)
    if isinstance(backbone, VGG16) and any(name.startswith("classifier.") for name in state):
        load_fc(backbone.fc, state, origin)


def fetch_imagenet(backbone: str) -> StateDict:
    """Torchvision's ImageNet weights of a backbone, from its cache or the network."""
    try:
        state: StateDict = IMAGENET[backbone].get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        instead = " (vgg16_bn or ssd7 train better so)" if backbone == "vgg16" else ""
        raise UserError(
            f"model.weights is imagenet, but the weights of {backbone} cannot be fetched "
            f"({one_line(error)}): give --model.weights PATH of a local torchvision state_dict of "
            f"{backbone}, or --model.weights none to start from random weights{instead}"
        ) from error
    return state


def read_state_dict(path: Path) -> StateDict:
    """The tensors by name in a file that `torch.save` wrote."""
    if not path.is_file():
        raise UserError(
            f"model.weights is {path}, but there is no such file: "
            "give imagenet, none or the path of a torchvision state_dict"
        )
    try:
        state: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises anything
        raise UserError(
            f"model.weights {path} cannot be read ({one_line(error)}): "
            "it is damaged or no file of torch.save(model.state_dict())"
        ) from error
    if isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        return state
    found = (
        f"{type(state).__name__} of {list(state)[:3]}"
        if isinstance(state, dict)
        else type(state).__name__
    )
    raise UserError(
        f"model.weights {path} holds a {found}, but has to hold a torchvision state_dict: "
        "tensors by name"
    )


def load_features(features: nn.Sequential, state: StateDict, origin: str) -> None:
    """Copies the tensors `features.*` of a state_dict, which have to fit exactly."""
    prefix = "features."
    own = {prefix + name: tensor for name, tensor in features.state_dict().items()}
    given = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    refuse_misfits(given, {name: tensor.shape for name, tensor in own.items()}, origin)
    features.load_state_dict({name.removeprefix(prefix): given[name] for name in given})


def load_fc(fc: nn.Sequential, state: StateDict, origin: str) -> None:
    """Makes fc6 and fc7 of VGG's fully connected layers, by keeping every fourth channel.

    Of fc6's 7×7 taps every third is kept, which dilation 6 spreads out again. Source: Liu et al.,
    SSD, section 3, after Chen et al., DeepLab; the published `VGG_ILSVRC_16_layers_fc_reduced`.
    """
    given = {name: state[name] for name in state if name in FULLY_CONNECTED}
    refuse_misfits(given, FULLY_CONNECTED, origin)
    fc6, fc7 = (layer for layer in fc if isinstance(layer, nn.Conv2d))
    first, second = state["classifier.0.weight"], state["classifier.3.weight"]
    first = first.view(4096, 512, 7, 7)[::4, :, ::3, ::3]
    fc6.load_state_dict({"weight": first, "bias": state["classifier.0.bias"][::4]})
    second = second[::4, ::4, None, None]
    fc7.load_state_dict({"weight": second, "bias": state["classifier.3.bias"][::4]})


def refuse_misfits(given: StateDict, wanted: Mapping[str, torch.Size], origin: str) -> None:
    """Raises a UserError unless the tensors have exactly the wanted names and shapes."""
    misfits = [f"has unknown {name}" for name in given if name not in wanted]
    for name, shape in wanted.items():
        if name not in given:
            # PyTorch fills in this counter, which files from before its version 0.4.1 lack.
            if not name.endswith("num_batches_tracked"):
                misfits.append(f"lacks {name}")
        elif given[name].shape != shape:
            misfits.append(f"has {name} of {list(given[name].shape)} for {list(shape)}")
    if misfits:
        more = f" and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise UserError(
            f"{origin}: the file {', '.join(misfits[:3])}{more}: "
            "give torchvision's weights of the backbone in model.backbone"
        )


def from_torchvision_ssd300(state: StateDict) -> dict[str, Tensor]:
    """The state_dict of torchvision's `ssd300_vgg16` under this framework's names.

    Its default boxes are those of the COCO sizes, with widths and heights cut at the image's, and
    its pixels are normalised in its own way.
    """
    return {torchvision_ssd300_name(name): tensor for name, tensor in state.items()}


def torchvision_ssd300_name(name: str) -> str:
    """What a tensor of torchvision's `ssd300_vgg16` is called here."""
    if conv5 := re.match(r"backbone\.extra\.0\.(\d)\.(?=weight|bias)", name):
        # torchvision moves conv5, from its pool on, out of `features`.
        return f"backbone.features.{23 + int(conv5[1])}.{name[conv5.end() :]}"
    if extra := re.match(r"backbone\.extra\.([1-5])\.", name):
        return f"backbone.extras.{int(extra[1]) - 1}.{name[extra.end() :]}"
    for theirs, ours in SSD300_PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def one_line(error: Exception) -> str:
    """What went wrong, without line breaks."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:120]
