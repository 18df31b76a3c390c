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
    """The optimizer and its learning rate."""

    name: Literal["sgd", "adamw"] = "sgd"
    """`sgd` (with momentum) or `adamw`."""

    lr: float = 1e-3
    """Learning rate after the warm-up."""

    lr_images: int | None = None
    """Images per step for which `optimizer.lr` is meant. If set, `optimizer.lr` is multiplied by
    the actual images per step (batch size x accumulate x ranks) over this number: the linear rule
    of Goyal et al. (2017). By default, `optimizer.lr` is used unchanged."""

    momentum: float = 0.9
    """Momentum of SGD, or first beta of AdamW."""

    weight_decay: float = 5e-4
    """Weight decay. See `optimizer.decay_bias_and_norm` for biases and normalisation layers."""

    bias_lr_factor: float = 1.0
    """Factor on the learning rate of biases (2 in Caffe)."""

    backbone_lr_factor: float = 1.0
    """Factor on the learning rate of the backbone, without its additional layers: below 1, its
    pretrained weights change more slowly than the rest."""

    decay_bias_and_norm: bool = False
    """Apply weight decay to biases and normalisation layers too."""

    schedule: Literal["cosine", "multistep", "constant"] = "cosine"
    """Course of the learning rate after the warm-up."""

    warmup_steps: int = 500
    """Steps in which the learning rate rises from near 0; limited to a tenth of the training."""

    milestones: list[float] = field(default_factory=lambda: [2 / 3, 5 / 6])
    """For `multistep`: fractions of the training, 0 … 1, at which the learning rate drops."""

    gamma: float = 0.1
    """For `multistep`: the factor of each drop."""

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
            backbone_lr_factor=(SMALLEST, LARGEST),
            warmup_steps=(0, LARGEST),
            gamma=(SMALLEST, 1),
        )
        points = self.milestones
        rising = points == sorted(point for point in points if 0 < point < 1)
        require(rising, "optimizer.milestones", points, "rising points between 0 and 1")


@dataclass(frozen=True)
class TrainingConfig:
    """The run: its length, batch size, precision and device."""

    epochs: int = 60
    """Number of passes over the training data."""

    min_steps: int | None = None
    """Minimum number of optimizer steps of a training by `training.epochs`: a small data set, whose
    epochs have few steps, is passed over more often, with its evaluations as much further apart."""

    steps: int | None = None
    """Number of optimizer steps. If set, it replaces `training.epochs` and `training.min_steps`."""

    batch_size: int = 16
    """Images of one micro-batch on one rank."""

    accumulate: int = 1
    """Micro-batches per optimizer step, whose gradients are accumulated."""

    drop_last: bool = False
    """Leave out the short last step of an epoch. The default loss makes this unnecessary: it is
    divided by the positives of the step, and its gradient is weighted by the step's share of a full
    step's images."""

    precision: Precision = "auto"
    """Number format of the forward and backward pass. `auto` takes bf16 if the hardware has it,
    else fp16 on CUDA, else fp32. The loss is always computed in fp32."""

    clip_norm: float | None = None
    """Largest gradient norm of a step; larger gradients are scaled down to it."""

    sync_batchnorm: bool = False
    """Compute BatchNorm's statistics over the images of all ranks instead of each rank's own.
    Needs several GPUs."""

    max_skipped: int = 10
    """Training stops after this many steps in a row with a non-finite gradient. Each of these
    steps is skipped and does not change the weights. The run notices at the next update of the
    figures (`training.log_every`)."""

    ema_decay: float | None = None
    """Decay of a moving average of the weights. If set, evaluation uses the average."""

    seed: int = 0
    """Seed of the initial weights, the image order and the augmentation."""

    deterministic: bool = False
    """Make equal runs give bit-identical results, at some cost in speed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; `auto` takes a GPU if there is one."""

    graph: Literal["auto", "off"] = "auto"
    """Run each step on a GPU as a CUDA graph, which launches all its kernels at once and computes
    the same. `auto` does if there is one rank; `off` launches them one by one."""

    compile: Literal["auto", "off"] = "auto"
    """Compile the model and its loss for a GPU, which takes about half a minute at the start.
    `auto` does if there is one rank, a C compiler, and `training.deterministic` is off, since
    compiled kernels round differently."""

    log_every: int = 10
    """Steps between two updates of the figures in metrics, TensorBoard and the progress bar."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits(
            "training",
            self,
            epochs=(1, LARGEST),
            min_steps=(1, LARGEST),
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
    """The checkpoints of a run."""

    every_steps: int | None = None
    """Steps between two checkpoints. By default, one is saved at the end of every epoch."""

    keep: int = 2
    """Number of newest intact checkpoints to keep, in addition to the best one."""

    max_failed: int = 3
    """Checkpoints in a row that may fail to be written (on a full disk, for example), each with a
    warning, before training stops."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits("checkpoint", self, every_steps=(1, LARGEST), max_failed=(0, LARGEST))
        rule = "2 or more, since the newest may be damaged"
        require(self.keep >= 2, "checkpoint.keep", self.keep, rule)


@dataclass(frozen=True)
class EvaluationConfig:
    """Postprocessing and evaluation of detections; the default thresholds are the paper's."""

    metric: Metric = "voc_area"
    """`voc_area`: the area under the precision-recall curve. `voc07`: the mean precision at 11
    recalls. `coco`: COCO's twelve figures, with AP over ten overlaps as the mAP. Each works with
    any `data.format`."""

    iou_threshold: float = 0.5
    """Minimum overlap (IoU) at which a detection counts as correct; `coco` has its own."""

    coco_evaluator: CocoEvaluator = "pycocotools"
    """Package that computes the metric `coco`: `pycocotools`, the reference, or `hotcoco` (pip
    install hotcoco), which gives the same figures many times faster."""

    every_epochs: int = 1
    """Epochs between two evaluations during training; 0 evaluates only at the end."""

    batch_size: int = 16
    """Images per forward pass."""

    score_threshold: float = 0.01
    """Detections are kept only if their score is above this."""

    nms_iou: float = 0.45
    """If two detections of one class overlap (IoU) more than this, only the better one stays."""

    top_k: int = 400
    """Maximum number of candidates per class that enter non-maximum suppression."""

    max_detections: int = 200
    """Maximum number of detections per image."""

    mirror: bool = False
    """Look at the mirror image of each image too, and keep the best of both: somewhat more
    accurate, at half the speed. Exported files do without."""

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
