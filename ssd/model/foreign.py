"""Other projects' names for the tensors of an SSD, with their model settings and classes.

A layout is a function from the name of one of our tensors to its name in the file. Only the names
differ: all these projects keep Caffe's layers and its order of default boxes and classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

StateDict = Mapping[str, Tensor]
Layout = Callable[[str], str]

# By category id, from 1 on; `N/A` where an id was never used.
COCO_CATEGORIES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "N/A", "stop sign", "parking meter", "bench", "bird"),
    *("cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "N/A"),
    *("backpack", "umbrella", "N/A", "N/A", "handbag", "tie", "suitcase", "frisbee", "skis"),
    *("snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard"),
    *("surfboard", "tennis racket", "bottle", "N/A", "wine glass", "cup", "fork", "knife"),
    *("spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot"),
    *("hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "N/A"),
    *("dining table", "N/A", "N/A", "toilet", "N/A", "tv", "laptop", "mouse", "remote"),
    *("keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "N/A"),
    *("book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
COCO_CLASSES = tuple(name for name in COCO_CATEGORIES if name != "N/A")
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)

# Class names by the number of outputs per default box, background included.
TORCHVISION_CLASSES = {91: COCO_CATEGORIES}
SSD_PYTORCH_CLASSES = {21: VOC_CLASSES, 81: COCO_CLASSES}

# As in Caffe: a mean is subtracted, and nothing is divided.
CAFFE_PIXELS = {"pixel_mean": [123.0, 117.0, 104.0], "pixel_std": [1.0, 1.0, 1.0]}
REDUCED_VGG_SETTINGS: dict[str, object] = {"backbone": "vgg16", **CAFFE_PIXELS}
# ssd.pytorch also moves the centres of 114 boxes, which lie 4 px beyond the right and lower border,
# onto the border; here they stay.
SSD_PYTORCH_SETTINGS: dict[str, object] = {
    **REDUCED_VGG_SETTINGS,
    "aspect_ratios": None,  # the backbone's own
    "clamp_boxes": True,
}
COCO_BOX_SIZES = [21.0, 45.0, 99.0, 153.0, 207.0, 261.0, 315.0]
VOC_BOX_SIZES = [30.0, 60.0, 111.0, 162.0, 213.0, 264.0, 315.0]
TORCHVISION_SETTINGS: dict[str, object] = {
    **SSD_PYTORCH_SETTINGS,
    "input_size": 300,
    "box_sizes": COCO_BOX_SIZES,
}
# torchvision's SSDLite320; the sizes of its default boxes are the backbone's own.
SSDLITE_SETTINGS: dict[str, object] = {
    "backbone": "ssdlite",
    "input_size": 320,
    "box_sizes": None,
    "aspect_ratios": None,
    "clamp_boxes": True,
    "pixel_mean": [127.5, 127.5, 127.5],
    "pixel_std": [127.5, 127.5, 127.5],
}
# ssd.pytorch's sizes at 300 pixels, by the number of outputs; its configuration for COCO has 201.
SSD_PYTORCH_BOX_SIZES = {21: VOC_BOX_SIZES, 81: COCO_BOX_SIZES, 201: COCO_BOX_SIZES}

# Index of the pool before conv5_1 in VGG's `features`.
CONV5_POOL = 23
# Index of the block of MobileNetV3 that torchvision splits after its expansion.
SPLIT_BLOCK = 13


def own_name(name: str) -> str:
    """The layout of this framework's checkpoints."""
    return name


def torchvision_name(name: str) -> str:
    """The name of one of our tensors in torchvision's `ssd300_vgg16`."""
    name = name.replace("head.logits.", "head.classification_head.module_list.")
    name = name.replace("head.locations.", "head.regression_head.module_list.")
    name = name.replace("backbone.conv4_3_norm.weight", "backbone.scale_weight")
    name = name.replace("backbone.fc.", "backbone.extra.0.7.")
    if extra := re.match(r"backbone\.extras\.(\d+)\.", name):
        return f"backbone.extra.{int(extra[1]) + 1}.{name[extra.end() :]}"
    layer = re.match(r"backbone\.features\.(\d+)\.", name)
    if layer and int(layer[1]) >= CONV5_POOL:
        return f"backbone.extra.0.{int(layer[1]) - CONV5_POOL}.{name[layer.end() :]}"
    return name


def to_torchvision_ssd300(state: StateDict) -> dict[str, Tensor]:
    """The state_dict of our `vgg16` at 300 pixels under the names of torchvision's model.

    The outputs are the same if the default boxes and the normalised pixels are.
    """
    return {torchvision_name(name): tensor for name, tensor in state.items()}


def ssdlite_name(name: str) -> str:
    """The name of one of our tensors in torchvision's `ssdlite320_mobilenet_v3_large`."""
    if predictor := re.match(r"head\.(logits|locations)\.(\d+)\.(\d)\.", name):
        part = "classification_head" if predictor[1] == "logits" else "regression_head"
        # Depthwise convolution and norm are one block there, and the last convolution another.
        layer = "1" if predictor[3] == "3" else f"0.{predictor[3]}"
        return f"head.{part}.module_list.{predictor[2]}.{layer}.{name[predictor.end() :]}"
    if feature := re.match(r"backbone\.features\.(\d+)\.", name):
        index, rest = int(feature[1]), name[feature.end() :]
        if index == SPLIT_BLOCK:
            rest = rest.removeprefix("block.")
            if rest.startswith("0."):  # the expansion
                return f"backbone.features.0.{index}.{rest.removeprefix('0.')}"
            return f"backbone.features.1.0.{rest}"
        after = index > SPLIT_BLOCK
        return f"backbone.features.{int(after)}.{index - SPLIT_BLOCK * after}.{rest}"
    return name.replace("backbone.extras.", "backbone.extra.")


def ssd_pytorch_name(name: str) -> str:
    """The name of one of our tensors in ssd.pytorch (github.com/amdegroot)."""
    name = name.replace("head.logits.", "conf.").replace("head.locations.", "loc.")
    name = name.replace("backbone.conv4_3_norm.weight", "L2Norm.weight")
    name = name.replace("backbone.features.", "vgg.")
    if fc := re.match(r"backbone\.fc\.(\d+)\.", name):
        # Our `fc` begins with the pool, which is layer 30 there.
        return f"vgg.{30 + int(fc[1])}.{name[fc.end() :]}"
    if extra := re.match(r"backbone\.extras\.(\d+)\.(\d+)\.", name):
        # A block has two convolutions; ours has a ReLU after each.
        return f"extras.{2 * int(extra[1]) + int(extra[2]) // 2}.{name[extra.end() :]}"
    return name


def ssd_pytorch_settings(state: StateDict) -> dict[str, object]:
    """The model settings that a whole SSD of ssd.pytorch needs."""
    size = 512 if "extras.8.weight" in state else 300
    settings = SSD_PYTORCH_SETTINGS | {"input_size": size}
    outputs = len(state["conf.0.bias"]) // 4 if "conf.0.bias" in state else 0
    if size == 300 and outputs in SSD_PYTORCH_BOX_SIZES:
        settings["box_sizes"] = SSD_PYTORCH_BOX_SIZES[outputs]
    return settings


def reduced_vgg_name(name: str) -> str:
    """The name of one of our tensors in Caffe's reduced VGG, `vgg16_reducedfc.pth`."""
    return ssd_pytorch_name(name).removeprefix("vgg.")


class Published(NamedTuple):
    """A detector that torchvision publishes, trained on COCO.

    Attributes:
        weights: the name of its weights there.
        network: the name of its function there.
        settings: of the section `model`, which these weights need.
        layout: the name of one of our tensors → its name there.
        recipe: the one of ours that has these settings.
        sign: the name of a tensor that no other file has.
    """

    weights: str
    network: str
    settings: Mapping[str, object]
    layout: Layout
    recipe: str
    sign: str


SSD300 = Published(
    "SSD300_VGG16_Weights.COCO_V1",
    "ssd300_vgg16",
    TORCHVISION_SETTINGS,
    torchvision_name,
    "torchvision_weights",
    sign="head.classification_head.module_list.0.weight",
)
SSDLITE320 = Published(
    "SSDLite320_MobileNet_V3_Large_Weights.COCO_V1",
    "ssdlite320_mobilenet_v3_large",
    SSDLITE_SETTINGS,
    ssdlite_name,
    "ssdlite_weights",
    sign="head.classification_head.module_list.0.1.weight",
)
PUBLISHED = SSD300, SSDLITE320


def published_detector(backbone: str) -> Published:
    """The detector of torchvision that a backbone is for; SSD300 for all that have none."""
    return next((each for each in PUBLISHED if each.settings["backbone"] == backbone), SSD300)
