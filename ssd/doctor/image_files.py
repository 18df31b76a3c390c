"""Every image file, read once: whether training can read it, and what its bytes tell."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ssd.common.errors import UserError
from ssd.data.dataset import decode_image, read_file

UPRIGHT = 1
ORIENTATION_TAG = 0x0112
HEAD = 1 << 16  # Exif is a JPEG's first segment, or the second after JFIF's


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
    """The orientation, 1 … 8, in a JPEG's Exif segment; `UPRIGHT` where there is none.

    Source: CIPA DC-008 (Exif 2.32), 4.5 and 4.6.4: a TIFF header, which names the byte order and
    the place of a directory of 12-byte entries.
    """
    start = re.search(rb"\xff\xe1..Exif\0\0", data[:HEAD], re.DOTALL)
    if not data.startswith(b"\xff\xd8") or start is None:
        return UPRIGHT
    tiff = data[start.end() : start.end() + HEAD]
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * entry)
            if tag == ORIENTATION_TAG and 1 <= value <= 8:
                return int(value)
    except struct.error:
        return UPRIGHT
    return UPRIGHT
