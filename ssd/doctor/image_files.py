"""Every image file, read once: whether training can read it, and what its bytes tell."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL.JpegImagePlugin import JpegImageFile
from tqdm.auto import tqdm

from ssd.common.errors import UserError
from ssd.data.image import decode_image, read_file

UPRIGHT = 1
ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class ImageFile:
    """A readable image file.

    Attributes:
        sha256: of its bytes, in hexadecimal digits.
        width: in pixels as stored.
        height: in pixels as stored.
        orientation: how a viewer turns a JPEG, by Exif's numbers; `UPRIGHT` is not at all.
    """

    sha256: str
    width: int
    height: int
    orientation: int


def read_image_files(paths: Sequence[Path], workers: int) -> dict[Path, ImageFile | UserError]:
    """Reads and decodes each file; one that training could not read has its error instead.

    No more than `workers` images are in memory. Ctrl-C waits for these alone.
    """
    pool = ThreadPoolExecutor(workers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of broken Exif data
        try:
            looks = tqdm(pool.map(_look, paths), "reading", len(paths), leave=False, unit="image")
            return dict(zip(paths, looks, strict=True))
        finally:
            pool.shutdown(cancel_futures=True)


def _look(path: Path) -> ImageFile | UserError:
    try:
        data = read_file(path)
        height, width, _ = decode_image(path, data).shape
    except UserError as error:
        return error
    return ImageFile(hashlib.sha256(data).hexdigest(), width, height, orientation_of(data))


def orientation_of(data: bytes) -> int:
    """The orientation, 1 … 8, in the Exif data of a JPEG; `UPRIGHT` without any."""
    try:
        value = JpegImageFile(io.BytesIO(data)).getexif().get(ORIENTATION_TAG, UPRIGHT)
    except Exception:  # another format, or broken Exif data, which raises anything
        return UPRIGHT
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT
