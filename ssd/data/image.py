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

import struct
from pathlib import Path

import cv2
import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import MAX_PIXELS, check_pixels, read_regular
from ssd.data.cache import Pixels
from ssd.structures import Record

LARGEST_FILE = 8 * MAX_PIXELS  # bytes of an uncompressed image of 16 bits and four channels
OLD_BMP_HEADER = 12  # bytes, of OS/2, with sizes of 16 bits


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


def _decode(data: bytes) -> Pixels:
    try:
        width, height = _claimed_size(data)
    except (IndexError, struct.error):
        width, height = 0, 0
    if width < 1 or height < 1:
        raise ValueError("image is cut off or its header is broken")
    check_pixels(width, height)
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        rgb = None
    if rgb is None:
        raise ValueError("image is damaged and cannot be decoded")
    return np.asarray(rgb, np.uint8)


def _claimed_size(data: bytes) -> tuple[int, int]:
    """(width, height) by the header, after a look at whether the end is there.

    Not by Pillow, which refuses files that OpenCV reads: a PNG for a wrong checksum of a comment, a
    JPEG for a short ICC segment, a BMP for unusual masks.
    """
    if data.startswith(b"\xff\xd8"):
        size, scan = _jpeg_header(data)
        whole = data.rfind(b"\xff\xd9", scan) >= 0
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        size = struct.unpack_from(">II", data, 16)
        whole = data.rfind(b"IEND") >= 0
    elif data.startswith(b"BM"):
        (header,) = struct.unpack_from("<I", data, 14)
        size = struct.unpack_from("<HH" if header == OLD_BMP_HEADER else "<ii", data, 18)
        whole = True
    else:
        raise ValueError("image is neither JPEG nor PNG nor BMP" if data else "image is empty")
    if not whole:
        raise ValueError("image is cut off: its end marker is missing")
    width, height = size
    return width, abs(height)  # a BMP stored from top to bottom has a negative height


def _jpeg_header(data: bytes) -> tuple[tuple[int, int], int]:
    """(width, height), and where the first scan starts.

    Source: ITU-T T.81, annex B: segments of marker, length and content, but for the markers 01
    and D0 … D9, which stand alone; the start-of-frame segments C0 … CF, without C4, C8 and CC,
    hold the size.
    """
    width, height, at = 0, 0, 2
    while True:
        while data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):
            at += 1
        marker = data[at + 1]
        if marker == 0xDA:
            return (width, height), at
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
        alone = marker == 0x01 or 0xD0 <= marker <= 0xD9
        at += 2 + (0 if alone else struct.unpack_from(">H", data, at + 2)[0])
