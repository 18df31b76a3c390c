"""The header of an image file: its size, its orientation, and whether its end is there.

Pillow reads it, and nothing is decoded. Pillow refuses some files that OpenCV decodes, such as a
JPEG with a short ICC segment; `ssd.data.image` then decodes them for their size.
"""

from __future__ import annotations

import io
from typing import IO, NamedTuple

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.WebPImagePlugin import WebPImageFile

from ssd.data.exif import TURNS, UPRIGHT, turned_size

# By the first bytes of a file: its name may be wrong.
JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two are BigTIFF
FORMATS: dict[bytes, type[ImageFile]] = {
    JPEG: JpegImageFile,
    PNG: PngImageFile,
    b"BM": BmpImageFile,
    b"RIFF": WebPImageFile,
    b"GIF8": GifImageFile,
}
ENDS = {JPEG: b"\xff\xd9", PNG: b"IEND"}
LONGEST_END = 12  # bytes of a PNG's last chunk

# The numbers of tags, in Exif and in TIFF.
WIDTH, HEIGHT, BITS, LARGEST_VALUE, ORIENTATION = 256, 257, 258, 281, 274


class Header(NamedTuple):
    """The facts in the first bytes of an image file.

    | field | type | unit |
    |---|---|---|
    | width, height | int | pixels, as OpenCV decodes them: stored, but a TIFF turned |
    | orientation | int | Exif's, 1 … 8; always 1 for a TIFF |
    | is_whole | bool | the end of a JPEG or PNG is there |
    | is_deep | bool | the values have more than 8 bits |
    """

    width: int
    height: int
    orientation: int = UPRIGHT
    is_whole: bool = True
    is_deep: bool = False


def read_header(file: IO[bytes]) -> Header | None:
    """The header of an image file, or None if Pillow cannot read it.

    Raises:
        ValueError: the file has none of the formats, or is far too large to decode.
    """
    start = file.read(max(map(len, FORMATS)))
    mark = next((mark for mark in (*FORMATS, *TIFF) if start.startswith(mark)), None)
    if mark is None:
        formats = "JPEG, PNG, BMP, WebP, TIFF or GIF"
        raise ValueError(f"image is not a {formats} file" if start else "image is empty")
    file.seek(0)
    try:
        if mark in TIFF:
            return _header_of_tiff(file)
        image = FORMATS[mark](file)
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        return Header(
            *image.size,
            _orientation(exif.get(ORIENTATION)),
            mark not in ENDS or _has_end(file, ENDS[mark]),
            mark == PNG and "16" in str(image.tile[0][3]),
        )
    except Image.DecompressionBombError:
        raise ValueError("image is too large to be decoded: make it smaller") from None
    except Exception:  # broken files make Pillow raise anything
        return None


def _orientation(value: object) -> int:
    return value if isinstance(value, int) and value in TURNS else UPRIGHT


def _has_end(file: IO[bytes], end: bytes) -> bool:
    """Returns whether the end comes after the place in the file; any bytes may follow it.

    Pillow stops where a JPEG's first scan starts, so that the end of a thumbnail in the header is
    not mistaken for that of the image.
    """
    header = file.tell()
    length = file.seek(0, io.SEEK_END)
    file.seek(max(header, length - LONGEST_END))
    if end in file.read():
        return True
    file.seek(header)
    return end in file.read()


def _header_of_tiff(file: IO[bytes]) -> Header:
    tags = _tiff_tags(file)
    width, height = int(tags[WIDTH]), int(tags[HEIGHT])
    if width < 1 or height < 1:
        raise SyntaxError("no pixels")
    size = turned_size(width, height, _orientation(tags.get(ORIENTATION)))
    return Header(*size, is_deep=max(tags.get(BITS, (1,))) > 8)


def _tiff_tags(file: IO[bytes]) -> ImageFileDirectory_v2:
    """The tags of a TIFF's first image.

    Not by Pillow's image class, which refuses many kinds of pixels that OpenCV reads.
    """
    start = file.read(8)
    if start[2:3] == b"+" or start[3:4] == b"+":
        start += file.read(8)
    tags = ImageFileDirectory_v2(start)
    file.seek(tags.next)
    tags.load(file)
    return tags


def depth_of_tiff(data: bytes) -> int | None:
    """The bits that the values of a TIFF need by its MaxSampleValue, of 16; None without it.

    Values of 10, 12 or 14 bits are scaled to 16 by OpenCV.
    """
    try:
        tags = _tiff_tags(io.BytesIO(data))
        largest, bits = max(tags.get(LARGEST_VALUE, (0,))), max(tags.get(BITS, (16,)))
        return int(largest).bit_length() + 16 - int(bits) if largest else None
    except Exception:  # broken files make Pillow raise anything
        return None
