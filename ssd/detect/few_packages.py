"""Pictures and progress where Pillow and tqdm may be missing: an exported file needs neither."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.common.untrusted import MAX_PIXELS, check_pixels, read_regular
from ssd.detect.sources import MOST_PIXELS

Pixels = npt.NDArray[np.uint8]
LARGEST_FILE = 8 * MAX_PIXELS  # bytes
JPEG, END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"


def read_picture(path: Path) -> Pixels:
    """The pixels [H, W, 3] of an image file, RGB, as `ssd.data.image` reads them.

    Without Pillow, OpenCV alone reads the file. It turns it by its Exif orientation too.

    Raises:
        UserError: the image is unreadable.
    """
    try:
        data = read_regular(path, LARGEST_FILE)
    except OSError as error:
        raise UserError(f"{path}: the image cannot be opened ({error.strerror})") from error
    return decode_picture(data, str(path))


def decode_picture(data: bytes, where: str) -> Pixels:
    """The pixels [H, W, 3] of an image file's bytes, as of `read_picture`; `where` names it.

    Raises:
        UserError: the image is unreadable.
    """
    try:
        try:
            from ssd.data.image import upright_pixels
        except ModuleNotFoundError:
            return _by_opencv(data)
        return upright_pixels(data, MOST_PIXELS)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _by_opencv(data: bytes) -> Pixels:
    if data.startswith(JPEG) and END_OF_JPEG not in data:
        raise ValueError("image is cut off: its end marker is missing")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError("image is damaged, or of a kind that OpenCV cannot decode")
    height, width = pixels.shape[:2]
    check_pixels(width, height, MOST_PIXELS)
    return np.asarray(pixels, np.uint8)


class Steps(Protocol):
    """The progress of some work."""

    def advance(self) -> None:
        """Counts one part that is done."""


class Silent:
    """Progress that is not shown."""

    def advance(self) -> None:
        """Does nothing."""


def progress_of(pictures: int | None, unit: str) -> AbstractContextManager[Steps]:
    """The progress of predictions, which is not shown if tqdm is missing.

    Args:
        pictures: how many there are; None if that is not known.
        unit: what they are, in the singular.
    """
    try:
        from ssd.common.progress import Progress
    except ModuleNotFoundError:
        return nullcontext(Silent())
    return Progress("predicting", pictures, unit)


def tell(text: str) -> None:
    """Prints a text on stderr, above the progress if that is shown."""
    try:
        from ssd.common.progress import say
    except ModuleNotFoundError:
        print(text, file=sys.stderr)
    else:
        say(text, to_stderr=True)
