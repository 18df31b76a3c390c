"""Settings of the network and of its loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from ssd.config.limits import LARGEST, SMALLEST, check_limits, require

Backbone = Literal["vgg16", "vgg16_bn", "resnet50", "mobilenet_v3_large", "ssd7"]
Divisor = Literal["step_positives", "rank_positives", "image_positives", "batch_positives_and_size"]
DIVISORS: tuple[Divisor, ...] = get_args(Divisor)


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    backbone: Backbone = "ssd7"
    """`vgg16` as in the paper, `vgg16_bn` for training without pretrained weights,
    `resnet50` as in NVIDIA's SSD300, `mobilenet_v3_large` for small devices, `ssd7`: seven layers
    that train on a CPU."""

    input_size: int = 300
    """Width and height in pixels to which images are resized."""

    weights: str = "none"
    """What training starts from. `none`: random weights. `imagenet`: the backbone of a
    classifier, fetched by torchvision. `torchvision`: its SSD300 trained on COCO, fetched too; see
    `configs/torchvision_weights.yaml`. A run or checkpoint folder of this framework. The path of
    a `state_dict`: of torchvision's SSD300 or its classifiers, of ssd.pytorch's SSD or its reduced
    VGG. A whole detector's class predictors are kept for the classes that it shares by name."""

    box_sizes: list[float] | None = None
    """Sizes in input pixels of the default boxes: one for each feature map, and one more that
    ends the last. Without it: the backbone's own (for VGG at 300: 30 60 111 162 213 264 315)."""

    clamp_boxes: bool = False
    """Whether the default boxes' widths and heights are cut at the image's, as torchvision and
    ssd.pytorch do."""

    pixel_mean: list[float] = field(default_factory=lambda: [123.675, 116.28, 103.53])
    """RGB mean, 0 … 255, that is subtracted; also the colour of the expanded canvas."""

    pixel_std: list[float] = field(default_factory=lambda: [58.395, 57.12, 57.375])
    """RGB deviation, 0 … 255, that is divided by."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits("model", self, input_size=(64, 2048))
        mean, std, sizes = self.pixel_mean, self.pixel_std, self.box_sizes
        numbers = len(mean) == 3 and all(0 <= value <= 255 for value in mean)
        require(numbers, "model.pixel_mean", mean, "three numbers from 0 to 255")
        positive = len(std) == 3 and all(0 < value < LARGEST for value in std)
        require(positive, "model.pixel_std", std, "three numbers above 0")
        rising = sizes is None or sizes == sorted({s for s in sizes if 0 < s < LARGEST})
        require(rising, "model.box_sizes", sizes, "rising numbers above 0")


@dataclass(frozen=True)
class LossConfig:
    """The multibox loss."""

    divisor: Divisor = "step_positives"
    """What the summed loss is divided by. `step_positives`: the positives of the whole optimizer
    step. The others are there to compare: `rank_positives` (torchvision), `image_positives`
    (NVIDIA), `batch_positives_and_size` (spikes at a short last batch)."""

    match_iou: float = 0.5
    """Overlap from which a default box is matched to an object."""

    negatives_per_positive: float = 3.0
    """Hard negatives of an image for each of its positives."""

    min_negatives: int = 0
    """Hard negatives that an image gets at least, even one without objects."""

    negative_iou: float = 1.0
    """An unmatched default box may be a hard negative if it overlaps every object less than
    this. Caffe has 0.5, which leaves no box out as long as `match_iou` is 0.5 too."""

    box_weight: float = 1.0
    """Weight of the box loss against the class loss (the paper's alpha)."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits(
            "loss",
            self,
            match_iou=(SMALLEST, 1),
            negatives_per_positive=(0, LARGEST),
            min_negatives=(0, LARGEST),
            negative_iou=(SMALLEST, 1),
            box_weight=(0, LARGEST),
        )
