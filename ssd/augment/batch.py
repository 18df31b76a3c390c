"""From packed samples to the batch that a model sees."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from ssd.augment import pixels
from ssd.augment.mix import draw_mixed_plan
from ssd.augment.plan import Plan, draw_plan, identity_plan
from ssd.common.sides import Size
from ssd.config import AugmentConfig, ModelConfig
from ssd.structures import Batch, PackedSamples


@dataclass(frozen=True)
class Preprocess:
    """The preprocessing of every image, the same in training, evaluation and prediction.

    Attributes:
        size: height and width of the model's input in pixels; one number if they are equal.
        mean: RGB, 0 … 255, subtracted.
        std: RGB, 0 … 255, divided by.
        antialias: whether shrinking averages all pixels that an output pixel covers.
        colours_last: whether colours change after the resize.
    """

    size: Size
    mean: Sequence[float]
    std: Sequence[float]
    antialias: bool
    colours_last: bool = False

    def training_batch(
        self,
        samples: PackedSamples,
        seed: int,
        config: AugmentConfig,
        closing_epoch: int | None = None,
    ) -> Batch:
        """The augmented batch: a pure function of the samples, their epochs and the seed.

        Mosaic and mixup need two images. From the `closing_epoch` on, if there is one, images are
        whole and alone: without mosaic, mixup, expansion and crop.
        """
        if config.engine != "device":  # `library` has already changed the samples
            return self.evaluation_batch(samples)
        if config.mixes and len(samples.keys) > 1:
            return self._batch(samples, draw_mixed_plan(samples, seed, config, closing_epoch))
        return self._batch(samples, draw_plan(samples, seed, config, closing_epoch))

    def evaluation_batch(self, samples: PackedSamples) -> Batch:
        """The whole images, resized."""
        return self._batch(samples, identity_plan(samples))

    def _batch(self, samples: PackedSamples, plan: Plan) -> Batch:
        if samples.pixels.is_cuda and finds_compiler():
            from ssd.augment import kernel  # Triton comes with PyTorch for GPUs only

            apply_plan = kernel.apply_plan
        else:
            apply_plan = pixels.apply_plan
        settings = self.size, self.mean, self.std, self.antialias, self.colours_last
        images = apply_plan(samples, plan, *settings)
        return Batch(images, plan.boxes, plan.labels, samples.image_ids)


@functools.cache  # asked for every batch
def finds_compiler() -> bool:
    """Returns whether Triton finds the C compiler with which it builds its driver for the kernel.

    Without one, `pixels.py` makes the same batch on the CPU, for the GPU.
    """
    return "CC" in os.environ or any(map(shutil.which, ("gcc", "clang")))


def preprocess_of(model: ModelConfig, augment: AugmentConfig) -> Preprocess:
    """The Preprocess for training a model with these settings, and for using it afterwards."""
    return Preprocess(
        size=model.input_size,
        mean=model.pixel_mean,
        std=model.pixel_std,
        antialias=augment.antialias,
        colours_last=augment.photometric_after_resize,
    )
