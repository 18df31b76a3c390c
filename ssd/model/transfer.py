"""Copies a file's tensors into a model: translates their names and checks that they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ssd.common.errors import UserError
from ssd.common.untrusted import LONGEST_NAME
from ssd.model.class_rows import describe, has_classes, shared_rows, take_rows
from ssd.model.foreign import Layout, StateDict, own_name, reduced_vgg_name
from ssd.model.mobilenet import SSDLite
from ssd.model.resnet import ResNet50
from ssd.model.ssd import SSD, Backbone
from ssd.model.ssd7 import SSD7
from ssd.model.timm_network import TimmNetwork, load_timm_classifier
from ssd.model.vgg import VGG16

FULLY_CONNECTED = {
    "classifier.0.weight": torch.Size([4096, 512 * 7 * 7]),
    "classifier.0.bias": torch.Size([4096]),
    "classifier.3.weight": torch.Size([4096, 4096]),
    "classifier.3.bias": torch.Size([4096]),
}
SSDLITE_NEEDS = (
    "ssdlite, whose last layers have half the channels, can only start from a detector's weights: "
    "set model.weights to torchvision, none, a file of torchvision's ssdlite320_mobilenet_v3_large "
    "or the folder of a run with ssdlite"
)
BEYOND_LAYER3 = ("layer4.", "fc.")
PYRAMID = "pyramid."
ABOVE_BACKBONE = (PYRAMID, "head.", "conf.", "loc.")  # ours and torchvision's, ssd.pytorch's


def copy_tensors(own: Mapping[str, Tensor], layout: Layout, given: StateDict, origin: str) -> None:
    """Copies a file's tensors into ours; the file has to hold exactly these.

    Args:
        own: from a `state_dict()`, so that copying into it changes the model.
        layout: our name of a tensor → the file's name.
        given: the file's tensors.
        origin: name of the weights in error messages.
    """
    refuse_misfits(given, {layout(name): tensor.shape for name, tensor in own.items()}, origin)
    for name, tensor in own.items():
        if layout(name) in given:
            tensor.copy_(given[layout(name)])


def refuse_misfits(given: StateDict, wanted: Mapping[str, torch.Size], origin: str) -> None:
    """Raises a UserError unless the tensors have exactly the wanted names and shapes."""
    misfits = [f"has unknown {name[:LONGEST_NAME]}" for name in given if name not in wanted]
    for name, shape in wanted.items():
        if name not in given:
            # Files from before PyTorch 0.4.1 lack this counter; ours then keeps its value.
            if not name.endswith("num_batches_tracked"):
                misfits.append(f"lacks {name}")
        elif given[name].shape != shape:
            misfits.append(f"has {name} of {list(given[name].shape)} for {list(shape)}")
    if misfits:
        more = f" and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise UserError(
            f"{origin}: the file {', '.join(misfits[:3])}{more}: "
            "give weights that belong to model.backbone at model.input_size"
        )


def load_classifier(backbone: Backbone, state: StateDict, origin: str) -> str:
    """Copies the layers shared with torchvision's classifier into the backbone.

    VGG's fully connected layers become fc6 and fc7 if they are present and finite:
    `IMAGENET1K_FEATURES` has NaN in their place.
    """
    if isinstance(backbone, SSD7):
        raise UserError(
            f"{origin} holds no detector, but ssd7 can only start from a detector's weights: set "
            "model.weights to none, or to the folder of a run with ssd7"
        )
    if isinstance(backbone, SSDLite):
        raise UserError(f"{origin} holds no detector: {SSDLITE_NEEDS}")
    if isinstance(backbone, TimmNetwork):
        return load_timm_classifier(backbone, state, origin)
    if isinstance(backbone, ResNet50):
        given = {name: state[name] for name in state if not name.startswith(BEYOND_LAYER3)}
        copy_tensors(backbone.features.state_dict(), own_name, given, origin)
        return "the backbone"
    given = {name: state[name] for name in state if name.startswith("features.")}
    copy_tensors(backbone.features.state_dict(), lambda name: f"features.{name}", given, origin)
    if not isinstance(backbone, VGG16):
        return "the backbone"
    if not any(name.startswith("classifier.") for name in state):
        return "the backbone without fc6 and fc7"
    refuse_misfits({n: state[n] for n in state if n in FULLY_CONNECTED}, FULLY_CONNECTED, origin)
    if not all(state[name].isfinite().all() for name in FULLY_CONNECTED):
        return "the backbone without fc6 and fc7, which are not finite"
    load_fc(backbone.fc, state)
    return "the backbone with fc6 and fc7"


def load_fc(fc: nn.Sequential, state: StateDict) -> None:
    """Makes fc6 and fc7 from VGG's fully connected layers by keeping every fourth channel.

    Every third of fc6's 7×7 taps is kept; dilation 6 spreads them out again. Source: Liu et al.,
    SSD, section 3, after Chen et al., DeepLab; the published `VGG_ILSVRC_16_layers_fc_reduced`.
    """
    fc6, fc7 = (layer for layer in fc if isinstance(layer, nn.Conv2d))
    first, second = state["classifier.0.weight"], state["classifier.3.weight"]
    first = first.view(4096, 512, 7, 7)[::4, :, ::3, ::3]
    fc6.load_state_dict({"weight": first, "bias": state["classifier.0.bias"][::4]})
    second = second[::4, ::4, None, None]
    fc7.load_state_dict({"weight": second, "bias": state["classifier.3.bias"][::4]})


def load_reduced_vgg(model: SSD, state: StateDict, origin: str) -> str:
    """Copies Caffe's reduced VGG, which has fc6 and fc7 as SSD uses them, into the backbone."""
    own = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(("backbone.features.", "backbone.fc."))
    }
    copy_tensors(own, reduced_vgg_name, state, origin)
    return "the backbone with fc6 and fc7"


def load_detector(
    model: SSD,
    state: StateDict,
    layout: Layout,
    known_classes: Mapping[int, Sequence[str]],
    classes: Sequence[str],
    origin: str,
) -> str:
    """Copies a detector's tensors into the model; class predictors get only the shared rows.

    Where the two have different pyramids, or one has none, only the backbone is copied.

    Args:
        model: fresh from `build_model`.
        state: the file's tensors.
        layout: our name of a tensor → the file's name.
        known_classes: the file's class names, by its number of outputs, background included.
        classes: our class names.
        origin: name of the weights in error messages.

    Returns:
        One line that names the kept and the fresh classes.
    """
    own, num_classes = model.state_dict(), len(classes) + 1
    if pyramid_shapes(own) != pyramid_shapes(state):
        ours, theirs = (
            {name: each[name] for name in each if not name.startswith(ABOVE_BACKBONE)}
            for each in (own, state)
        )
        copy_tensors(ours, layout, theirs, origin)
        return "the backbone; all else is fresh, since model.pyramid differs"
    bias = next(name for name in own if has_classes(name) and name.endswith("bias"))
    boxes_per_position = len(own[bias]) // num_classes
    outputs = (
        state[layout(bias)].numel() // boxes_per_position if layout(bias) in state else num_classes
    )
    wanted = {
        layout(name): torch.Size([len(tensor) // num_classes * outputs, *tensor.shape[1:]])
        if has_classes(name)
        else tensor.shape
        for name, tensor in own.items()
    }
    refuse_misfits(state, wanted, origin)
    file_classes = known_classes.get(outputs)
    rows = shared_rows(classes, file_classes, outputs)
    for name in own:
        if layout(name) in state:
            given = state[layout(name)]
            taken = take_rows(given, own[name], rows, num_classes) if has_classes(name) else given
            own[name].copy_(taken)
    return describe(classes, rows, by_name=file_classes is not None)


def pyramid_shapes(state: StateDict) -> dict[str, torch.Size]:
    """The shapes of a feature pyramid's tensors by name; empty if there is none."""
    return {name: tensor.shape for name, tensor in state.items() if name.startswith(PYRAMID)}
