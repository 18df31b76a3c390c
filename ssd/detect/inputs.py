"""Pictures in whatever form a user has them → names and pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.Image import Image
from PIL.ImageOps import exif_transpose
from torch import Tensor

from ssd.common.errors import UserError
from ssd.data.image import read_image
from ssd.detect.sources import MOST_PIXELS, files_in, no_image

Pixels = npt.NDArray[np.uint8]
Picture = str | Path | npt.NDArray[Any] | Image | Tensor
CHANNELS = (1, 3, 4)  # gray, RGB, RGB with transparency, which is dropped
TAKEN = "8-bit pixels [H, W, 3], or floats from 0 to 1"


def is_several(pictures: object) -> bool:
    """Returns whether these are many pictures: an iterable, a folder or a batch of them."""
    if isinstance(pictures, str | Path):
        return Path(pictures).is_dir()
    if isinstance(pictures, np.ndarray | Tensor):
        return pictures.ndim == 4
    return isinstance(pictures, Iterable)


def read_pictures(pictures: Picture | Iterable[Picture]) -> Iterator[tuple[str, Pixels]]:
    """The name and the pixels [H, W, 3] of each picture, RGB.

    A file is named by its stem, all else by its place among the pictures, from 0.

    Args:
        pictures: a path, an array [H, W, 3] or [H, W], a PIL image, a tensor [3, H, W], or an
            iterable, a folder or a batch of such.

    Raises:
        UserError: a picture cannot be read, or its form leaves a choice.
    """
    for place, picture in enumerate(_each(pictures)):
        if isinstance(picture, str | Path):
            yield Path(picture).stem, read_image(Path(picture), MOST_PIXELS)
        else:
            try:
                yield str(place), as_pixels(picture)
            except ValueError as error:
                raise UserError(f"picture {place}: {error}") from error


def _each(pictures: Any) -> Iterable[Any]:
    if not is_several(pictures):
        return [pictures]
    if isinstance(pictures, str | Path):
        files = files_in(Path(pictures))
        if not files:
            raise UserError(no_image([Path(pictures)]))
        return files
    several: Iterable[Any] = pictures
    return several


def as_pixels(picture: object) -> Pixels:
    """The pixels [H, W, 3] of a picture in memory, RGB.

    Raises:
        ValueError: it is none, or its shape, type or range leaves a choice.
    """
    if isinstance(picture, Image):
        if picture.mode.startswith(("I", "F")) or 0 in picture.size:
            raise ValueError(f"its mode is {picture.mode}, its size {picture.size}: give {TAKEN}")
        upright = exif_transpose(picture)  # as a file would be
        return np.asarray(upright.convert("RGB"), np.uint8)
    if isinstance(picture, Tensor):
        if picture.ndim == 3 and len(picture) in CHANNELS:
            picture = picture.permute(1, 2, 0)
        values = picture.detach().cpu().numpy()
    elif isinstance(picture, np.ndarray):
        values = picture
    else:
        raise ValueError(f"a {type(picture).__name__} is no picture: give a path, {TAKEN}")
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in CHANNELS or 0 in values.shape:
        raise ValueError(f"its shape is {values.shape}: give {TAKEN}")
    levels = _levels(values)
    rgb: Pixels = np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels[..., :3].copy()
    return rgb


def _levels(values: npt.NDArray[Any]) -> Pixels:
    """The values as levels from 0 to 255."""
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"its type is {values.dtype}: give {TAKEN}")
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 1:
        raise ValueError(f"its floats reach from {low:g} to {high:g}: give {TAKEN}")
    rounded: Pixels = np.rint(values * 255).astype(np.uint8)
    return rounded
