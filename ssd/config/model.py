"""Settings of the network and its loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from ssd.common.sides import both
from ssd.config.limits import LARGEST, SMALLEST, check_limits, require

Backbone = Literal["vgg16", "vgg16_bn", "resnet50", "mobilenet_v3_large", "ssdlite", "ssd7"]
BoxLoss = Literal["smooth_l1", "giou", "ciou"]
ClassLoss = Literal["hard_negatives", "focal"]
Divisor = Literal["step_positives", "rank_positives", "image_positives", "batch_positives_and_size"]
ShortStep = Literal["share", "full"]
MOST_RATIOS, LONGEST_RATIO = 8, 100
WIDEST = 1024  # channels of a pyramid
INPUT_SIDES = 64, 2048  # pixels
DIVISORS: tuple[Divisor, ...] = get_args(Divisor)


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    backbone: Backbone | str = "ssd7"
    """The network. `vgg16`: as in the paper. `vgg16_bn`: for training without pretrained weights.
    `resnet50`: as in NVIDIA's SSD300. `mobilenet_v3_large`: for small devices. `ssdlite`:
    torchvision's SSDLite320, faster, without a map for small objects. `ssd7`: seven layers that
    train on a CPU. `timm:NAME`: any convolutional network of the package timm (pip install timm),
    with additional layers until a map has one position."""

    input_size: int | list[int] = 300
    """Width and height, in pixels, to which images are resized: one number, or [height, width]. The
    two suit pictures that are all wide, or all high; on a command line, 256x512 is the same."""

    weights: str = "none"
    """The initial weights. `none`: random. `auto`: published ones, if they are in the cache or can
    be fetched; the run's config names the file. `imagenet`: the backbone of a classifier,
    downloaded by torchvision. `torchvision`: its SSD300 or SSDLite320 trained on COCO, also
    downloaded; see the recipes `torchvision_weights` and `ssdlite_weights`. Or a path: a run or
    checkpoint folder of this framework, or a `state_dict` of torchvision's detectors or
    classifiers, or of ssd.pytorch's SSD or reduced VGG. A whole detector's class predictors are
    kept for the classes that it shares by name."""

    box_sizes: list[float] | None = None
    """Sizes of the default boxes in input pixels: one per feature map, then the upper size of the
    last map. By default, the backbone's own (VGG at 300: 30 60 111 162 213 264 315), which grow
    with the input's shorter side."""

    aspect_ratios: list[float] | None = None
    """Aspect ratios above 1 of the default boxes, on every feature map; each adds a wide box and a
    high one to the two squares. By default, the backbone's own (VGG: 2 on some maps, 2 and 3 on the
    others). `ssd check --suggest-boxes` finds sizes and ratios that fit the data."""

    freeze: Literal["none", "backbone"] = "none"
    """Layers that keep their initial weights, and the statistics of their BatchNorm. `backbone`:
    those that pretrained weights fill; the additional layers and the head train. For few images."""

    pyramid: int = 0
    """Channels of a top-down feature pyramid (Lin et al., 2017) between the backbone's maps and the
    head, which passes on to the finer maps what the coarser ones know; 0 for none. 128 is usual.
    The default boxes stay the same. It starts from random weights, as the head does."""

    head_scale: float = 1.0
    """Factor on the head's random initial weights. Features that are strong from the start, such as
    those of an ImageNet classifier without BatchNorm, make large logits and a first loss of 100 or
    more; with 0.01, it starts near that of a uniform guess."""

    fit_boxes: bool = False
    """At the start of a run, find sizes and ratios of default boxes that fit more objects of the
    training set, as `ssd check --suggest-boxes` does, and keep them as `model.box_sizes` and
    `model.aspect_ratios` in the run's config. Given sizes are not changed."""

    clamp_boxes: bool = False
    """Limit the width and height of default boxes to those of the image, as torchvision and
    ssd.pytorch do."""

    pixel_mean: list[float] = field(default_factory=lambda: [123.675, 116.28, 103.53])
    """RGB mean, 0 … 255, subtracted from the pixels; also the colour of the expanded canvas."""

    pixel_std: list[float] = field(default_factory=lambda: [58.395, 57.12, 57.375])
    """RGB standard deviation, on the scale 0 … 255, by which the pixels are divided."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits("model", self, pyramid=(0, WIDEST), head_scale=(0, LARGEST))
        self._check_input_size()
        known = (*get_args(Backbone), "timm:NAME")
        is_known = self.backbone in known[:-1] or self.backbone.startswith("timm:")
        require(is_known, "model.backbone", self.backbone, f"one of {', '.join(known)}")
        mean, std, sizes = self.pixel_mean, self.pixel_std, self.box_sizes
        numbers = len(mean) == 3 and all(0 <= value <= 255 for value in mean)
        require(numbers, "model.pixel_mean", mean, "three numbers from 0 to 255")
        positive = len(std) == 3 and all(0 < value < LARGEST for value in std)
        require(positive, "model.pixel_std", std, "three numbers above 0")
        rising = sizes is None or sizes == sorted({s for s in sizes if 0 < s < LARGEST})
        require(rising, "model.box_sizes", sizes, "rising numbers above 0")
        ratios = self.aspect_ratios
        few = ratios is None or len(ratios) <= MOST_RATIOS
        long = ratios is None or ratios == sorted({r for r in ratios if 1 < r <= LONGEST_RATIO})
        rule = f"at most {MOST_RATIOS} rising numbers above 1 and at most {LONGEST_RATIO}"
        require(few and long, "model.aspect_ratios", ratios, rule)

    def _check_input_size(self) -> None:
        """Refuses impossible sizes; makes one number of two equal ones."""
        size, (low, high) = self.input_size, INPUT_SIDES
        sides = [size, size] if isinstance(size, int) else size
        fits = len(sides) == 2 and all(low <= side <= high for side in sides)
        rule = f"at least {low} and at most {high}, or [height, width] of two such numbers"
        require(fits, "model.input_size", size, rule)
        height, width = sides
        object.__setattr__(self, "input_size", height if height == width else [height, width])

    @property
    def shorter_side(self) -> int:
        """Of the input, in pixels: what the backbones' own default boxes are relative to."""
        return min(both(self.input_size))


@dataclass(frozen=True)
class LossConfig:
    """The multibox loss."""

    divisor: Divisor = "step_positives"
    """Divisor of the summed loss. `step_positives`: the number of positives in the whole optimizer
    step. The others are for comparison: `rank_positives` (torchvision), `image_positives` (NVIDIA)
    and `batch_positives_and_size` (spikes at a short last batch)."""

    short_step: ShortStep = "share"
    """Weight of an epoch's last step if it has fewer images than a full one. `share`: its share of
    a full step's images, so that each of its images counts as much as any other. `full`: that of a
    full step, so that each of its few images counts more. Applies to `step_positives`; the other
    divisors always count it in full. A resumed run keeps what it began with."""

    match_iou: float = 0.5
    """Minimum overlap (IoU) at which a default box is matched to an object."""

    negatives_per_positive: float = 3.0
    """Number of hard negatives for each positive of an image."""

    min_negatives: int = 0
    """Minimum number of hard negatives per image, even for images without objects."""

    negative_iou: float = 1.0
    """An unmatched default box may be a hard negative only if its overlap with every object is
    below this. Caffe uses 0.5, which excludes no box as long as `loss.match_iou` is also 0.5."""

    box_weight: float = 1.0
    """Weight of the box loss relative to the class loss (alpha in the paper)."""

    boxes: BoxLoss = "smooth_l1"
    """Loss of the boxes. `smooth_l1`: of the offsets, as in the paper. `giou` and `ciou`: of the
    overlap of predicted and matched box, which is smaller: `loss.box_weight` 2 is usual."""

    classes: ClassLoss = "hard_negatives"
    """Loss of the classes. `hard_negatives`: cross-entropy of the positives and the hardest
    negatives, as in the paper. `focal`: cross-entropy of all default boxes, in which easy ones
    count little (Lin et al., 2017); the settings of hard negatives then have no effect."""

    focal_gamma: float = 2.0
    """For `focal`: the higher, the less an easy default box counts."""

    focal_alpha: float = 0.25
    """For `focal`: weight (0 … 1) of the positives; the background has the rest."""

    label_smoothing: float = 0.0
    """Share (0 … 1) of the class target that is spread over all classes."""

    prime_samples: bool = False
    """Give more weight to the positives whose predicted boxes are best, since these are what
    detection keeps: PISA (Cao et al., 2020), which changes nothing but the training."""

    rare_share: float = 0.0
    """Share (0 … 1) of the training images below which a class is rare. An object of a class that
    a share f of the images has counts sqrt(rare_share / f) times, if that is above 1: as if its
    image were repeated by LVIS's rule (Gupta et al., 2019). LVIS has 0.001; 0 weights nothing."""

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
            focal_gamma=(0, LARGEST),
            focal_alpha=(0, 1),
            label_smoothing=(0, 1),
            rare_share=(0, 1),
        )
