"""Image files → pixels.

Pixels are as stored: the Exif orientation is not applied. Grayscale, palette, CMYK and 16-bit
images become 8-bit RGB; transparency is dropped. The first bytes of a file, not its name, say
whether it is JPEG, PNG or BMP. An image is unreadable if

- its file cannot be opened, is empty, or has another format;
- its end is missing: no end marker (FF D9) after a JPEG's first scan, no IEND in a PNG. Some
  versions of OpenCV fill the missing part with grey and only print a warning. Bytes after the end
  do no harm;
- its header is broken or claims more than `MAX_PIXELS`, or OpenCV fails to decode it;
- its size is not the annotation's, because the boxes then belong to another picture.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from ssd.common.errors import UserError
from ssd.common.untrusted import MAX_PIXELS, check_pixels, read_regular
from ssd.data.cache import Pixels
from ssd.structures import Record

LARGEST_FILE = 8 * MAX_PIXELS  # bytes of an uncompressed image of 16 bits and four channels
FORMATS: dict[bytes, type[ImageFile]] = {
    b"\xff\xd8": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"BM": BmpImageFile,
}
JPEG_END, PNG_END = b"\xff\xd9", b"IEND"


def read_image(path: Path) -> Pixels:
    """The pixels [H, W, 3] of an image file, RGB, uint8, as stored.

    Raises:
        UserError: the image is unreadable, by the rules above.
    """
    return decode_image(path, read_file(path))


def read_pixels(record: Record) -> Pixels:
    """The pixels [H, W, 3] of a record's image, of the size that its annotation says.

    Raises:
        UserError: the image is unreadable, by the rules above.
    """
    pixels = read_image(record.path)
    height, width = pixels.shape[:2]
    check_size(record, width, height)
    return pixels


def read_file(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        return read_regular(path, LARGEST_FILE)
    except OSError as error:
        raise UserError(f"{path}: the image cannot be opened ({error.strerror})") from error


def decode_image(path: Path, data: bytes) -> Pixels:
    """The pixels [H, W, 3] of an image file's bytes; `path` names it in errors.

    Raises:
        UserError: the image is unreadable, by the rules above.
    """
    try:
        return _decode(data)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def check_size(record: Record, width: int, height: int) -> None:
    """Refuses an image whose size is not its annotation's.

    Raises:
        UserError: the sizes differ.
    """
    if (width, height) != (record.width, record.height):
        claim = f"its annotation says {record.width}x{record.height}"
        raise UserError(f"{record.path}: image is {width}x{height}, {claim}")


def open_header(data: bytes) -> ImageFile:
    """The header of an image, read by Pillow, which also finds the end marker to be there.

    Raises:
        ValueError: the image is cut off, or its header is broken or of another format.
    """
    kind = next((kind for start, kind in FORMATS.items() if data.startswith(start)), None)
    if kind is None:
        raise ValueError("image is neither JPEG nor PNG nor BMP" if data else "image is empty")
    file = io.BytesIO(data)
    try:
        header = kind(file)
    except Exception as error:  # a broken header raises anything
        raise ValueError("image is cut off or its header is broken") from error
    # Pillow stops behind the header of a JPEG's first scan. A thumbnail, which has an end marker of
    # its own, stands before it.
    scan = file.tell()
    if kind is JpegImageFile and data.rfind(JPEG_END, scan) < 0:
        raise ValueError("image is cut off: its end marker is missing")
    if kind is PngImageFile and data.rfind(PNG_END) < 0:
        raise ValueError("image is cut off: its end marker is missing")
    return header


def _decode(data: bytes) -> Pixels:
    check_pixels(*open_header(data).size)
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        rgb = None
    if rgb is None:
        raise ValueError("image is damaged and cannot be decoded")
    return np.asarray(rgb, np.uint8)
