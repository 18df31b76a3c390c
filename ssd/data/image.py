"""Image files → pixels.

The first bytes of a file, not its name, say whether it is JPEG, PNG, BMP, WebP, TIFF or GIF, of
which the first frame is taken. Grayscale, palette and CMYK images become RGB; transparency is
dropped. Values of 16 bits lose their lower byte, or what a TIFF says of its depth lets them lose.
Exif's orientation is applied, unless `data.exif` says otherwise. An image is unreadable if

- its file cannot be opened, is empty, or has another format;
- its end is missing: no end marker (FF D9) after a JPEG's first scan, no IEND in a PNG. Some
  versions of OpenCV fill the missing part with grey and only print a warning. Bytes after the end
  do no harm;
- its header is broken or claims more than `MAX_PIXELS`, or it cannot be decoded;
- its values cannot be shown in 8 bits without a choice that nobody has made;
- its size is not the annotation's, because the boxes then belong to another picture.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ssd.common.errors import UserError
from ssd.common.untrusted import MAX_PIXELS, check_pixels, read_regular
from ssd.data.exif import turned_pixels, turned_size
from ssd.data.image_header import (
    ENDS,
    JPEG,
    LONGEST_END,
    PNG,
    TIFF,
    Header,
    depth_of_tiff,
    read_header,
)
from ssd.data.png import without_profile

if TYPE_CHECKING:  # an exported file reads images without PyTorch
    from ssd.data.cache import Pixels
    from ssd.structures import Record

LARGEST_FILE = 8 * MAX_PIXELS  # bytes of an uncompressed image of 16 bits and four channels
FLAGS = cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH
NEARLY_BLACK = 1 << 12  # values of 16 bits below it have levels below 16 of 255


def read_image(path: Path, most_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels [H, W, 3] of an image file, RGB, uint8, turned by its Exif orientation.

    Args:
        path: the file.
        most_pixels: number of pixels above which its header refuses it.

    Raises:
        UserError: the image is unreadable, by the rules above.
    """
    data = read_file(path)
    try:
        return upright_pixels(data, most_pixels)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def upright_pixels(data: bytes, most_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels of `read_image`, of the bytes of a file.

    Raises:
        ValueError: the image is unreadable, by the rules above.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of broken Exif data
        header = header_of(data)
    check_pixels(header.width, header.height, most_pixels)
    return turned_pixels(_decode(data), header.orientation)


def read_pixels(record: Record) -> Pixels:
    """The pixels [H, W, 3] of a record's image, turned as the record says.

    The header is not looked at again, since `ssd.data.headers` has seen it.

    Raises:
        UserError: the image is unreadable, by the rules above.
    """
    return decode_image(record, read_file(record.path))


def decode_image(record: Record, data: bytes) -> Pixels:
    """The pixels of `read_pixels`, of the bytes of the record's file.

    Raises:
        UserError: the image is unreadable, by the rules above.
    """
    try:
        pixels = turned_pixels(_decode(data), record.orientation)
    except ValueError as error:
        raise UserError(f"{record.path}: {error}") from error
    height, width = pixels.shape[:2]
    if (width, height) != (record.width, record.height):
        claim = f"its annotation says {record.width}x{record.height}"
        raise UserError(f"{record.path}: image is {width}x{height}, {claim}")
    return pixels


def try_image(record: Record, data: bytes) -> None:
    """Does nothing if `decode_image` can decode the bytes of the record's file.

    A JPEG is decoded at an eighth of its size. That reads all its bits and takes a third of the
    time.

    Raises:
        UserError: the image is unreadable, by the rules above.
    """
    header = read_header(io.BytesIO(data)) if data.startswith(JPEG) else None
    if header is not None and header.is_whole:
        size = turned_size(header.width, header.height, record.orientation)
        small = _decoded_by_opencv(data, cv2.IMREAD_REDUCED_COLOR_8)
        if size == (record.width, record.height) and small is not None:
            return
    decode_image(record, data)


def read_file(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        return read_regular(path, LARGEST_FILE)
    except OSError as error:
        raise UserError(f"{path}: the image cannot be opened ({error.strerror})") from error


def header_of(data: bytes) -> Header:
    """The header of an image file's bytes, with the whole image decoded if need be.

    Raises:
        ValueError: the image is unreadable, by the rules above.
    """
    header = read_header(io.BytesIO(data))
    if header is None and data.startswith(PNG):
        # A wrong checksum of a comment makes Pillow refuse it: it sees the first chunk, which
        # holds the size, and the pixels.
        header = read_header(io.BytesIO(data[:33] + data[max(33, data.find(b"IDAT") - 4) :]))
    if header is None:
        rgb = _decoded_by_opencv(data)
        if rgb is None:
            raise ValueError("image is cut off or its header is broken")
        header = Header(rgb.shape[1], rgb.shape[0])
    return header


def _decode(data: bytes) -> Pixels:
    """The pixels [H, W, 3] as stored, RGB, uint8."""
    for mark, end in ENDS.items():
        if data.startswith(mark) and end not in data[-LONGEST_END:]:
            header = read_header(io.BytesIO(data))
            if not (end in data if header is None else header.is_whole):
                raise ValueError("image is cut off: its end marker is missing")
    rgb = _decoded_by_opencv(data)
    if rgb is None and not data.startswith((JPEG, PNG, b"BM")):
        rgb = _decoded_by_pillow(data)  # an older OpenCV lacks GIF, and builds of it may lack more
    if rgb is None:
        if read_header(io.BytesIO(data)) is None:
            raise ValueError("image is cut off or its header is broken")
        raise ValueError("image is damaged and cannot be decoded")
    return _in_8_bits(rgb, data)


def _decoded_by_opencv(data: bytes, colours: int = cv2.IMREAD_COLOR_RGB) -> npt.NDArray[Any] | None:
    encoded = np.frombuffer(without_profile(data), np.uint8)
    try:
        if not data.startswith(TIFF):
            return cv2.imdecode(encoded, colours | FLAGS)
        # As RGB, OpenCV 5.0 leaves the values of a TIFF of three times 16 bits uninitialised.
        bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR_BGR | FLAGS)
    except cv2.error:
        return None
    return None if bgr is None else np.ascontiguousarray(bgr[..., ::-1])


def _decoded_by_pillow(data: bytes) -> npt.NDArray[Any] | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:  # broken files make Pillow raise anything
        return None
    if image.mode.startswith(("I", "F")):
        return np.repeat(np.asarray(image)[..., None], 3, 2)
    return np.asarray(image.convert("RGB"))


def _in_8_bits(values: npt.NDArray[Any], data: bytes) -> Pixels:
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    if values.dtype != np.uint16:
        raise ValueError(f"image has values of type {values.dtype}: convert it to 8 bits")
    depth = depth_of_tiff(data) if data.startswith(TIFF) else None
    if depth is None:
        largest = int(values.max())
        if 0 < largest < NEARLY_BLACK:
            # PNG defines values of 16 bits to reach up to 65535, whatever the camera's depth.
            raise ValueError(
                f"image has values of 16 bits, but none above {largest}, which would be nearly "
                "black: convert it to 8 bits, or give a TIFF its MaxSampleValue"
            )
        depth = 16
    return np.asarray(np.minimum(values >> max(0, depth - 8), 255), np.uint8)
