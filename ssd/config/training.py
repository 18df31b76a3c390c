"""Settings of the run: optimizer, length, precision, checkpoints, evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ssd.config.limits import LARGEST, SMALLEST, check_limits, require

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Metric = Literal["voc07", "voc_area", "coco"]
CocoEvaluator = Literal["pycocotools", "hotcoco"]


@dataclass(frozen=True)
class OptimizerConfig:
    """How gradients become changes of the weights."""

    name: Literal["sgd", "adamw"] = "sgd"
    """`sgd` (with momentum) or `adamw`."""

    lr: float = 1e-3
    """Learning rate after the warm-up."""

    lr_images: int | None = None
    """Images of the step that `lr` is meant for. If given, `lr` is multiplied by the images of a
    step (batch size x accumulate x ranks) over this number, the linear rule of Goyal et al.
    (2017). Without it, `lr` is taken as it is."""

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
        check_limits(
            "optimizer",
            self,
            lr=(SMALLEST, LARGEST),
            lr_images=(1, LARGEST),
            momentum=(0, 0.9999),
            weight_decay=(0, LARGEST),
            bias_lr_factor=(SMALLEST, LARGEST),
            warmup_steps=(0, LARGEST),
            gamma=(SMALLEST, 1),
        )
        points = self.milestones
        rising = points == sorted(point for point in points if 0 < point < 1)
        require(rising, "optimizer.milestones", points, "rising points between 0 and 1")


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

    sync_batchnorm: bool = False
    """Whether BatchNorm takes its statistics over the images of all ranks instead of each rank's
    own. Needs GPUs, and several of them."""

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
        check_limits(
            "training",
            self,
            epochs=(1, LARGEST),
            steps=(1, LARGEST),
            batch_size=(1, LARGEST),
            accumulate=(1, LARGEST),
            clip_norm=(SMALLEST, LARGEST),
            max_skipped=(1, LARGEST),
            ema_decay=(0, 0.999999),
            seed=(0, LARGEST),
            log_every=(1, LARGEST),
        )


@dataclass(frozen=True)
class CheckpointConfig:
    """What is saved, and how often."""

    every_steps: int | None = None
    """Steps between two checkpoints. Without it: at the end of every epoch."""

    keep: int = 2
    """How many of the newest intact checkpoints stay, besides the best one."""

    max_failed: int = 3
    """Checkpoints in a row that may be lost for want of room on the disk, with a warning, before
    training stops."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits("checkpoint", self, every_steps=(1, LARGEST), max_failed=(0, LARGEST))
        rule = "2 or more, since the newest may be damaged"
        require(self.keep >= 2, "checkpoint.keep", self.keep, rule)


@dataclass(frozen=True)
class EvaluationConfig:
    """How detections are made and judged; the defaults are the paper's."""

    metric: Metric = "voc_area"
    """`voc_area`: area under the precision-recall curve. `voc07`: mean of the precision at 11
    recalls. `coco`: COCO's twelve figures, of which AP over ten overlaps is the mAP. Each goes
    with any `data.format`."""

    iou_threshold: float = 0.5
    """Overlap from which a detection counts as a hit; `coco` has its own."""

    coco_evaluator: CocoEvaluator = "pycocotools"
    """Who computes the metric `coco`: `pycocotools`, the reference, or `hotcoco` (pip install
    hotcoco), which gives the same figures many times as fast."""

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
        check_limits(
            "evaluation",
            self,
            iou_threshold=(SMALLEST, 1),
            every_epochs=(0, LARGEST),
            batch_size=(1, LARGEST),
            score_threshold=(0, 1),
            nms_iou=(SMALLEST, 1),
            top_k=(1, LARGEST),
            max_detections=(1, LARGEST),
        )
