"""The loss and the augmentation for a training loop of one's own."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssd.augment.batch import preprocess_of
from ssd.common.errors import UserError
from ssd.common.sides import Size
from ssd.common.words import counted
from ssd.config import ModelConfig
from ssd.config.settings import to_config
from ssd.data.dataset import pack
from ssd.detect.inputs import Picture, read_pictures
from ssd.loss.matching import match
from ssd.loss.multibox import multibox_loss
from ssd.loss.normalize import StepCounts, losses_under
from ssd.structures import Predictions, Sample, Targets, to_device
from ssd.training.step import count_step


class MultiboxLoss:
    """The multibox loss of an optimizer step, divided once by the positives of the whole step.

    Match all micro-batches of a step first, count their positives, over all ranks, and then call
    the loss for each micro-batch. With a single micro-batch, the loss alone will do.

    Args:
        default_boxes: [P, 4] in centre form, relative to the image, on the model's device.
        images_per_step: images of a full step, over all micro-batches and ranks. A step of fewer
            images then counts by its share of them; without it, every step counts in full.
        settings: of the section `loss` of the config, such as `match_iou=0.5` or
            `divisor="step_positives"`.
    """

    def __init__(
        self, default_boxes: Tensor, images_per_step: int | None = None, **settings: Any
    ) -> None:
        if images_per_step is not None and not images_per_step >= 1:
            raise UserError(f"images_per_step is {images_per_step}, but has to be at least 1")
        self.default_boxes, self.images_per_step = default_boxes, images_per_step
        self.config = to_config({"loss": settings}).loss
        if self.config.rare_share:
            raise UserError("rare_share needs the classes of all images: use ssd.train")

    def match(self, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> Targets:
        """The targets of a micro-batch.

        Args:
            boxes: [G, 4] of each image, xyxy relative to the image, 0 … 1.
            labels: [G] of each image, int64, classes from 1.
        """
        device = self.default_boxes.device
        most = max([1, *map(len, boxes)])
        boxes_BG4 = torch.zeros(len(boxes), most, 4, device=device)
        labels_BG = torch.zeros(len(boxes), most, dtype=torch.int64, device=device)
        for row, (own_boxes, own_labels) in enumerate(zip(boxes, labels, strict=True)):
            _check_pairs(row, own_boxes, own_labels)
            boxes_BG4[row, : len(own_boxes)] = own_boxes
            labels_BG[row, : len(own_labels)] = own_labels
        config = self.config
        return match(
            boxes_BG4, labels_BG, self.default_boxes, config.match_iou, config.negative_iou
        )

    def count(self, micro_batches: Sequence[Targets]) -> StepCounts:
        """The counts of a step over all its micro-batches and ranks; every rank has to call it."""
        return count_step(micro_batches, self.images_per_step)

    def __call__(
        self,
        logits: Tensor,
        locations: Tensor,
        targets: Targets,
        counts: StepCounts | None = None,
    ) -> Tensor:
        """The loss of a micro-batch, a scalar to be backpropagated; those of a step add up.

        Its gradient is weighted by the step's share of a full step, its value is not.

        Args:
            logits: [B, P, C], the background first.
            locations: [B, P, 4], offsets from the default boxes, in variances.
            targets: from `match`.
            counts: from `count`; without them, the micro-batch is the whole step.
        """
        config = self.config
        sums = multibox_loss(
            Predictions(logits, locations),
            targets,
            self.default_boxes,
            config,
        )
        losses = losses_under(sums, counts or self.count([targets]), config)
        loss, objective = losses.under[config.divisor], losses.objective
        return loss.detach() + (objective - objective.detach())


def _check_pairs(image: int, boxes: Sized, labels: Sized) -> None:
    if len(boxes) != len(labels):
        raise UserError(
            f"image {image} has {counted(len(boxes), 'box')}, but {counted(len(labels), 'label')}: "
            "give one for each box"
        )


class Augmented(NamedTuple):
    """A batch that a model can train on.

    Attributes:
        images: [B, 3, H, W] float32, normalised RGB, channels_last.
        boxes: [G, 4] float32 of each image, xyxy relative to the image, 0 … 1.
        labels: [G] int64 of each image.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]


class Augment:
    """The whole SSD augmentation of a list of images and boxes, in one pass on the device.

    What happens to an image is a function of the seed, the epoch and its key; with mosaic or mixup,
    also of the other images of the list.

    Args:
        size: height and width of the result in pixels; one number if they are equal.
        device: where the batch is made: `cpu` or a CUDA device.
        seed: of all random changes.
        mean: RGB, 0 … 255, subtracted; also the colour of the expanded canvas.
        std: RGB, 0 … 255, divided by.
        settings: of the section `augment` of the config, such as `flip_probability=0.5`.
    """

    def __init__(
        self,
        size: Size = 300,
        device: str | torch.device = "cpu",
        seed: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **settings: Any,
    ) -> None:
        default = ModelConfig()
        model = ModelConfig(
            input_size=size if isinstance(size, int) else list(size),
            pixel_mean=default.pixel_mean if mean is None else [float(level) for level in mean],
            pixel_std=default.pixel_std if std is None else [float(level) for level in std],
        )
        self.device, self.seed = torch.device(device), seed
        self.config = to_config({"augment": settings}).augment
        if self.config.engine == "library" or self.config.library is not None:
            raise UserError(
                "ssd.Augment makes the batch on its device: run the transforms of a library on the "
                "images before, and leave `library` and `engine` out"
            )
        if self.config.closing_share:
            raise UserError(
                "ssd.Augment does not know how long training is: leave `closing_share` out, and "
                "make another one without mosaic, mixup, expansion and crop for the last epochs"
            )
        self.preprocess = preprocess_of(model, self.config)
        self._taken = 0

    def __call__(
        self,
        images: Sequence[Picture],
        boxes: Sequence[Any],
        labels: Sequence[Any],
        epoch: int = 0,
        keys: Sequence[int] | None = None,
    ) -> Augmented:
        """The augmented batch.

        Args:
            images: pictures as `Detector.predict` takes them.
            boxes: [G, 4] of each image, xyxy in its pixels.
            labels: [G] of each image, classes from 1.
            epoch: the pass over the data.
            keys: a number for each image, the same in every pass; without them, the images are
                counted from the first call on.
        """
        if keys is None:
            keys = range(self._taken, self._taken + len(images))
            self._taken += len(images)
        for image, pair in enumerate(zip(boxes, labels, strict=True)):
            _check_pairs(image, *pair)
        columns = zip(keys, read_pictures(images), boxes, labels, strict=True)
        samples = [
            Sample(
                name,
                key,
                epoch,
                pixels,
                np.asarray(own_boxes, np.float32).reshape(-1, 4),
                np.asarray(own_labels, np.int64),
            )
            for key, (name, pixels), own_boxes, own_labels in columns
        ]
        packed = to_device(pack(samples), self.device)
        batch = self.preprocess.training_batch(packed, self.seed, self.config)
        kept = batch.labels > 0
        pairs = zip(batch.boxes, batch.labels, kept, strict=True)
        moved = [(own_boxes[own], own_labels[own]) for own_boxes, own_labels, own in pairs]
        return Augmented(batch.images, [one for one, _ in moved], [one for _, one in moved])
