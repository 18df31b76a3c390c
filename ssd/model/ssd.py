"""The detector: backbone → feature maps (→ pyramid) → head → Predictions."""

from __future__ import annotations

from torch import Tensor, nn

from ssd.common.errors import UserError
from ssd.common.sides import Size, both, in_words, one_or_both
from ssd.config import ModelConfig
from ssd.geometry.default_boxes import FeatureMap, default_boxes
from ssd.model.feature_pyramid import FeaturePyramid
from ssd.model.head import MultiboxHead
from ssd.model.mobilenet import MobileNetV3Large, SSDLite, normalise_as_torchvision
from ssd.model.resnet import ResNet50
from ssd.model.ssd7 import SSD7
from ssd.model.timm_network import PREFIX, TimmNetwork
from ssd.model.vgg import VGG16, Pyramid
from ssd.structures import Predictions

Backbone = VGG16 | ResNet50 | MobileNetV3Large | SSD7 | TimmNetwork

SMALLEST_INPUT = 96
ADDED = (
    "extras",
    "fc",
    "conv4_3_norm",
)  # parts of backbones that the detector adds to a classifier


class SSD(nn.Module):
    """A single-shot detector.

    Attributes:
        backbone: images → feature maps, finest first.
        pyramid: feature maps → maps of the same sizes for the head; None for the backbone's own.
        head: feature maps → Predictions.
        is_frozen: whether the pretrained part of the backbone stays as it is.
        default_boxes: [P, 4] float32, centre form, relative to the image; a buffer that follows
            the model to its device and is not part of the state_dict.
    """

    default_boxes: Tensor

    def __init__(
        self,
        backbone: Backbone,
        head: MultiboxHead,
        default_boxes_P4: Tensor,
        pyramid: FeaturePyramid | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = pyramid
        self.head = head
        self.register_buffer("default_boxes", default_boxes_P4, persistent=False)

        self.is_frozen = False

    def freeze(self) -> None:
        """Keeps the weights and the BatchNorm statistics of the backbone's pretrained part."""
        self.is_frozen = True
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(not is_pretrained(name))
        self.train()

    def train(self, mode: bool = True) -> SSD:
        """Switches to training, but for what is frozen, or to evaluation."""
        super().train(mode)
        if self.is_frozen:
            for name, part in self.named_modules():
                if is_pretrained(name):
                    part.training = False
        return self

    def forward(self, images: Tensor) -> Predictions:
        """Predictions for normalised images [B, 3, H, W], in the order of `default_boxes`."""
        maps = self.backbone(images)
        predictions: Predictions = self.head(maps if self.pyramid is None else self.pyramid(maps))
        return predictions


def is_pretrained(name: str) -> bool:
    """Returns whether a parameter or module is of a part that any pretrained weights fill.

    Of VGG, a file may lack fc6 and fc7, and no classifier has the scale of the L2 norm.
    """
    part = name.split(".")[:2]
    return part[0] == "backbone" and len(part) == 2 and part[1] not in ADDED


def build_model(config: ModelConfig, num_classes: int) -> SSD:
    """A detector with random weights, drawn from torch's global generator.

    Args:
        config: the backbone and its sizes; `config.weights` is left to `load_weights`.
        num_classes: number of classes, background included.

    Raises:
        UserError: if the backbone does not support the input size or the number of box sizes.
    """
    backbone = build_backbone(config)
    maps = feature_maps(backbone, config)
    pyramid = FeaturePyramid(backbone.channels, config.pyramid) if config.pyramid else None
    head = MultiboxHead(
        [config.pyramid] * len(maps) if pyramid else backbone.channels,
        [feature_map.boxes_per_position for feature_map in maps],
        num_classes,
        separable=backbone.separable_head,
        scale=config.head_scale,
    )
    boxes_P4 = default_boxes(maps, config.input_size, clamp=config.clamp_boxes)
    model = SSD(backbone, head, boxes_P4, pyramid)
    if isinstance(backbone, SSDLite):
        normalise_as_torchvision(model)
    if config.freeze == "backbone":
        model.freeze()
    return model


def build_backbone(config: ModelConfig) -> Backbone:
    """The backbone that `config` names, with random weights."""
    match config.backbone:
        case "mobilenet_v3_large" | "ssdlite" | "ssd7" if config.shorter_side < SMALLEST_INPUT:
            raise UserError(
                f"model.input_size is {in_words(config.input_size)}, but {config.backbone} needs "
                f"{SMALLEST_INPUT} or more on each side"
            )
        case "vgg16":
            return VGG16(config.input_size, batch_norm=False)
        case "vgg16_bn":
            return VGG16(config.input_size, batch_norm=True)
        case "resnet50":
            return ResNet50(config.input_size)
        case "mobilenet_v3_large":
            return MobileNetV3Large(config.input_size)
        case "ssdlite":
            return SSDLite(config.input_size)
        case "ssd7":
            return SSD7(config.input_size)
        case other:
            return TimmNetwork(other.removeprefix(PREFIX), config.input_size)


def feature_maps(backbone: Backbone | Pyramid, config: ModelConfig) -> list[FeatureMap]:
    """The layout of the default boxes on each feature map.

    The step between positions is the network's stride. Rows or columns that are three or fewer
    are spread evenly over the image, as in Caffe's SSD300 (steps 8 16 32 64 100 300).
    """
    sizes, needed = config.box_sizes or backbone.box_sizes, len(backbone.map_sizes) + 1
    ratios = config.aspect_ratios
    if len(sizes) != needed:
        raise UserError(
            f"model.box_sizes has {len(sizes)} numbers, but {config.backbone} at input size "
            f"{in_words(config.input_size)} needs {needed}: one for each feature map and one more"
        )
    maps, map_sizes = [], list[Size](backbone.map_sizes)
    for index, size in enumerate(map_sizes):
        y_step, x_step = (
            backbone.first_stride * 2**index if count > 3 else side / count
            for count, side in zip(both(size), both(config.input_size), strict=True)
        )
        shapes = backbone.aspect_ratios[index] if ratios is None else tuple(ratios)
        step = one_or_both(y_step, x_step)
        maps.append(FeatureMap(size, step, sizes[index], sizes[index + 1], shapes))
    return maps
