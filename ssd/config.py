"""Every setting, with its default, its meaning and its limits.

A function of the framework takes its own section or plain values, never the whole Config.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ssd.errors import UserError

Backbone = Literal["vgg16", "vgg16_bn", "mobilenet_v3_large", "ssd7"]
Divisor = Literal["step_positives", "rank_positives", "image_positives", "batch_positives_and_size"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Metric = Literal["voc07", "voc_area"]


def _require(holds: bool, setting: str, value: object, rule: str) -> None:
    if not holds:
        raise UserError(f"{setting} is {value}, but has to be {rule}")


def _share(setting: str, value: float) -> None:
    _require(0 <= value <= 1, setting, value, "between 0 and 1")


@dataclass(frozen=True)
class DataConfig:
    """Which images, and who reads them."""

    format: Literal["voc", "shapes"] = "shapes"
    """How the data is stored: Pascal VOC folders, or `shapes`, the embedded set that is drawn
    on first use (and is then a VOC folder too)."""

    root: str = "datasets/shapes"
    """The folder with `Annotations`, `ImageSets/Main` and `JPEGImages`, or a folder of such."""

    train_split: str | list[str] = "trainval"
    """Image lists to train on, by name in `ImageSets/Main`. `VOC2007/trainval` means the list
    `trainval` of the folder `VOC2007` below `data.root`; several may be given:
    `[VOC2007/trainval, VOC2012/trainval]`."""

    eval_split: str | list[str] = "test"
    """Image lists to evaluate on, written like `data.train_split`."""

    classes: list[str] | None = None
    """Names of the classes to detect, in order. Without it: those of the training annotations,
    sorted. Objects of other classes are left out and counted."""

    train_difficult: bool = True
    """Whether to train on objects marked `difficult`, as Caffe does. Evaluation never counts
    them."""

    workers: int = 2
    """Processes that decode images; 0 decodes in the training process."""

    max_unreadable: float = 0.01
    """Share of the training images that may turn out unreadable before training stops."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        _require(self.workers >= 0, "data.workers", self.workers, "0 or more")
        _share("data.max_unreadable", self.max_unreadable)
        if self.classes is not None:
            distinct = len(set(self.classes)) == len(self.classes) > 0
            _require(distinct, "data.classes", self.classes, "a list of different names")


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of the training images: Caffe's SSD chain, with its numbers."""

    engine: Literal["device", "none"] = "device"
    """`device` augments on the device that trains; `none` only resizes."""

    antialias: bool = True
    """Whether shrinking an image averages all the pixels that a result covers. Holds for
    training, evaluation and prediction alike."""

    photometric: bool = True
    """Whether to change brightness, contrast, saturation and hue."""

    expand_probability: float = 0.5
    """How often an image is placed on a larger canvas of the mean colour."""

    expand_max: float = 4.0
    """How many times wider and higher that canvas is at most."""

    crop: bool = True
    """Whether to crop to windows whose overlap with an object is drawn from Caffe's seven
    samplers."""

    crop_min_scale: float = 0.3
    """Side of the smallest crop window, before its aspect ratio, relative to the image."""

    flip_probability: float = 0.5
    """How often an image is mirrored left to right."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        _share("augment.expand_probability", self.expand_probability)
        _share("augment.flip_probability", self.flip_probability)
        _require(1 <= self.expand_max <= 16, "augment.expand_max", self.expand_max, "1 … 16")
        scale = self.crop_min_scale
        _require(0.05 <= scale <= 1, "augment.crop_min_scale", scale, "0.05 … 1")


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    backbone: Backbone = "ssd7"
    """`vgg16` as in the paper, `vgg16_bn` for training without pretrained weights,
    `mobilenet_v3_large` for small devices, `ssd7`: seven layers that train on a CPU."""

    input_size: int = 300
    """Width and height in pixels to which images are resized."""

    weights: str = "none"
    """What the backbone starts from: `imagenet` (fetched by torchvision), `none` (random), or
    the path of a file with a torchvision `state_dict` of that backbone."""

    box_sizes: list[float] | None = None
    """Sizes in input pixels of the default boxes: one for each feature map, and one more that
    ends the last. Without it: the backbone's own (for VGG at 300: 30 60 111 162 213 264 315)."""

    pixel_mean: list[float] = field(default_factory=lambda: [123.675, 116.28, 103.53])
    """RGB mean, 0 … 255, that is subtracted; also the colour of the expanded canvas."""

    pixel_std: list[float] = field(default_factory=lambda: [58.395, 57.12, 57.375])
    """RGB deviation, 0 … 255, that is divided by."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        _require(64 <= self.input_size <= 2048, "model.input_size", self.input_size, "64 … 2048")
        _require(len(self.pixel_mean) == 3, "model.pixel_mean", self.pixel_mean, "three numbers")
        positive = len(self.pixel_std) == 3 and min(self.pixel_std) > 0
        _require(positive, "model.pixel_std", self.pixel_std, "three numbers above 0")
        if self.box_sizes is not None:
            rising = self.box_sizes == sorted(set(self.box_sizes)) and self.box_sizes[0] > 0
            _require(rising, "model.box_sizes", self.box_sizes, "rising numbers above 0")


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
        _require(0 < self.match_iou < 1, "loss.match_iou", self.match_iou, "between 0 and 1")
        ratio = self.negatives_per_positive
        _require(ratio >= 0, "loss.negatives_per_positive", ratio, "0 or more")
        _require(
            0 < self.negative_iou <= 1, "loss.negative_iou", self.negative_iou, "above 0, up to 1"
        )
        _require(self.min_negatives >= 0, "loss.min_negatives", self.min_negatives, "0 or more")
        _require(self.box_weight >= 0, "loss.box_weight", self.box_weight, "0 or more")


@dataclass(frozen=True)
class OptimizerConfig:
    """How gradients become changes of the weights."""

    name: Literal["sgd", "adamw"] = "sgd"
    """`sgd` (with momentum) or `adamw`."""

    lr: float = 1e-3
    """Learning rate after the warm-up."""

    momentum: float = 0.9
    """SGD's momentum; AdamW's first beta."""

    weight_decay: float = 5e-4
    """Decay of the weights; biases and normalisation layers follow `decay_bias_and_norm`."""

    bias_lr_factor: float = 1.0
    """Factor on the learning rate of biases (Caffe: 2)."""

    decay_bias_and_norm: bool = False
    """Whether biases and normalisation layers decay too."""

    schedule: Literal["cosine", "multistep", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""

    warmup_steps: int = 500
    """Steps over which the learning rate rises from near 0; at most a tenth of the training."""

    milestones: list[float] = field(default_factory=lambda: [2 / 3, 5 / 6])
    """`multistep`: the points of the training, 0 … 1, at which the learning rate drops."""

    gamma: float = 0.1
    """`multistep`: the factor of each drop."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        _require(self.lr > 0, "optimizer.lr", self.lr, "above 0")
        _require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "from 0 to below 1")
        decay = self.weight_decay
        _require(decay >= 0, "optimizer.weight_decay", decay, "0 or more")
        factor = self.bias_lr_factor
        _require(factor > 0, "optimizer.bias_lr_factor", factor, "above 0")
        _require(self.warmup_steps >= 0, "optimizer.warmup_steps", self.warmup_steps, "0 or more")
        inside = all(0 < point < 1 for point in self.milestones)
        rule = "rising points between 0 and 1"
        rising = inside and self.milestones == sorted(self.milestones)
        _require(rising, "optimizer.milestones", self.milestones, rule)
        _require(0 < self.gamma <= 1, "optimizer.gamma", self.gamma, "above 0 and at most 1")


@dataclass(frozen=True)
class TrainingConfig:
    """The run: how long, how many images at once, in which numbers, where."""

    epochs: int = 60
    """Passes over the training data."""

    steps: int | None = None
    """Optimizer steps. If given, they decide, and `training.epochs` does not count."""

    batch_size: int = 16
    """Images of one micro-batch on one rank."""

    accumulate: int = 1
    """Micro-batches whose gradients make one optimizer step."""

    drop_last: bool = False
    """Whether to leave out the short last step of an epoch. There is no need to: the loss is
    divided by the positives of the step, however many images it has."""

    precision: Precision = "auto"
    """Numbers of forward and backward: `auto` takes bf16 where the hardware has it, else fp16 on
    CUDA, else fp32. The loss is always computed in fp32."""

    clip_norm: float | None = None
    """Largest norm of a step's gradient; longer ones are shortened to it."""

    max_skipped: int = 10
    """Steps in a row with a non-finite gradient after which training stops. Each is skipped:
    the weights never see it."""

    ema_decay: float | None = None
    """Decay of the moving average of the weights; evaluation then uses the average."""

    seed: int = 0
    """Seed of the initial weights, the order of the images and the augmentation."""

    deterministic: bool = False
    """Whether equal runs give equal bits, at some cost in speed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU if there is one."""

    log_every: int = 10
    """Steps between two readings of the figures: metrics, TensorBoard, progress."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        for name in ("epochs", "batch_size", "accumulate", "max_skipped", "log_every"):
            value = getattr(self, name)
            _require(value > 0, f"training.{name}", value, "1 or more")
        steps = self.steps
        _require(steps is None or steps > 0, "training.steps", steps, "1 or more")
        clip, decay = self.clip_norm, self.ema_decay
        _require(clip is None or clip > 0, "training.clip_norm", clip, "above 0")
        _require(decay is None or 0 < decay < 1, "training.ema_decay", decay, "between 0 and 1")
        _require(0 <= self.seed < 2**63, "training.seed", self.seed, "from 0 to below 2**63")


@dataclass(frozen=True)
class CheckpointConfig:
    """What is saved, and how often."""

    every_steps: int | None = None
    """Steps between two checkpoints. Without it: at the end of every epoch."""

    keep: int = 2
    """How many of the newest checkpoints stay, besides the best one."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        every = self.every_steps
        _require(every is None or every > 0, "checkpoint.every_steps", every, "above 0")
        rule = "2 or more, since the newest may be damaged"
        _require(self.keep >= 2, "checkpoint.keep", self.keep, rule)


@dataclass(frozen=True)
class EvaluationConfig:
    """How detections are made and judged; the defaults are the paper's."""

    metric: Metric = "voc_area"
    """`voc_area`: area under the precision-recall curve. `voc07`: mean of the precision at 11
    recalls."""

    iou_threshold: float = 0.5
    """Overlap from which a detection counts as a hit."""

    every_epochs: int = 1
    """Epochs between two evaluations during training; 0 evaluates only at the end."""

    batch_size: int = 16
    """Images of one forward pass."""

    score_threshold: float = 0.01
    """Detections with lower scores are dropped."""

    nms_iou: float = 0.45
    """Of two detections of one class that overlap more than this, the better one stays."""

    top_k: int = 400
    """Candidates of each class that enter the suppression."""

    max_detections: int = 200
    """Detections of one image at most."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        for name in ("iou_threshold", "nms_iou"):
            value = getattr(self, name)
            _require(0 < value < 1, f"evaluation.{name}", value, "between 0 and 1")
        _share("evaluation.score_threshold", self.score_threshold)
        _require(self.every_epochs >= 0, "evaluation.every_epochs", self.every_epochs, "0 or more")
        for name in ("batch_size", "top_k", "max_detections"):
            value = getattr(self, name)
            _require(value > 0, f"evaluation.{name}", value, "1 or more")


@dataclass(frozen=True)
class Config:
    """A whole run."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
