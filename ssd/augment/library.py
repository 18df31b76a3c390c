"""The user's own Albumentations pipeline, run on each image in the process that decodes it.

What it does to an image is a pure function of (seed, epoch, image key), whichever process does it
and in whichever order.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssd.augment.library_file import read_file, read_pipeline
from ssd.augment.torchvision_transforms import KEY, TorchvisionTransform
from ssd.common.errors import UserError, one_line
from ssd.config import AugmentConfig
from ssd.config.recipes import ALBUMENTATIONS
from ssd.config.settings import LONGEST_ERROR
from ssd.structures import Sample


class LibraryTransform:
    """Changes Samples by a pipeline; may be sent to other processes."""

    def __init__(self, path: Path, seed: int) -> None:
        """Reads the pipeline.

        Args:
            path: the YAML file.
            seed: of the run.

        Raises:
            UserError: the file cannot be read, or is not a pipeline that can be applied.
        """
        self.path = path
        self.seed = seed
        self.pipeline = read_pipeline(path)

    def __call__(self, sample: Sample) -> Sample:
        """The changed sample: its pixels may have another size, its objects may be fewer.

        Raises:
            UserError: a transform fails, or makes something else than an image.
        """
        generator = np.random.default_rng([self.seed, sample.epoch, sample.key])
        # Not set_random_seed, by which every transform draws the same numbers as the others.
        python_random = random.Random(int(generator.integers(1 << 63)))
        self.pipeline.set_random_state(generator, python_random)
        if python_random.random() >= self.pipeline.p:
            return sample
        # A copy: a transform may write into the image, which may be kept for the next epoch.
        data: dict[str, Any] = {"image": sample.pixels.copy(), "bboxes": _rows(sample)}
        step = self.pipeline
        try:
            self.pipeline.preprocess(data)
            for step in self.pipeline.transforms:
                data = self.pipeline.check_data_post_transform(step(**data))
                _check_image(data["image"])
            self.pipeline.postprocess(data)
        except Exception as error:  # a transform may raise anything
            what = f"{type(error).__name__}: {one_line(error)}"[:LONGEST_ERROR]
            where = f"{self.path}: {_called(step)} fails on image {sample.image_id}"
            raise UserError(f"{where}: {what}: change or remove it") from error
        return _changed(sample, data["image"], data["bboxes"])


def library_transform(
    config: AugmentConfig, seed: int
) -> LibraryTransform | TorchvisionTransform | None:
    """The transform that the settings ask for on each decoded image, or None.

    Raises:
        UserError: the pipeline cannot be read.
    """
    if config.library is None:
        return LibraryTransform(ALBUMENTATIONS, seed) if config.engine == "library" else None
    path = Path(config.library).expanduser()
    content = read_file(path)
    if KEY in content:
        return TorchvisionTransform(path, content[KEY], seed)
    return LibraryTransform(path, seed)


def _called(step: Any) -> str:
    """The name of a transform, with those inside it."""
    inner = [_called(one) for one in getattr(step, "transforms", [])]
    return type(step).__name__ + (f"({', '.join(inner)})" if inner else "")


def _rows(sample: Sample) -> npt.NDArray[np.float64]:
    """Boxes relative to the image and labels [G, 5]: Albumentations carries the fifth along."""
    height, width = sample.pixels.shape[:2]
    relative = sample.boxes / np.array([width, height, width, height], np.float64)
    return np.hstack([relative, sample.labels[:, None]])


def _check_image(image: Any) -> None:
    """Refuses what is not an image [H, W, 3], uint8, of at least one pixel."""
    shape, kind = getattr(image, "shape", ()), getattr(image, "dtype", type(image).__name__)
    if not isinstance(image, np.ndarray) or kind != np.uint8 or shape[2:] != (3,) or 0 in shape:
        raise ValueError(f"it returns {kind} of shape {tuple(shape)}, not 8-bit RGB pixels")


def _changed(sample: Sample, pixels: npt.NDArray[np.uint8], rows: npt.NDArray[Any]) -> Sample:
    height, width = pixels.shape[:2]
    boxes = rows[:, :4] * np.array([width, height, width, height], np.float64)
    labels = rows[:, 4:].ravel().astype(np.int64)  # no fifth column where no box is left
    return replace(sample, pixels=pixels, boxes=boxes.astype(np.float32), labels=labels)
