"""Records → Samples → PackedSamples: decoding, and what happens to an unreadable image.

Pixels are as stored: EXIF rotation is not applied; grayscale, palette, CMYK and 16-bit images
come out as 8-bit RGB, transparency is dropped. Whether a file is JPEG, PNG or BMP is told by its
first bytes, not by its name. An image is unreadable when

- its file cannot be opened, is empty, or is of another format;
- its end is missing: no end marker (FF D9) after a JPEG's first scan, no IEND in a PNG. Some
  versions of OpenCV fill up what is missing with grey and only print a warning. Bytes after the
  end do no harm;
- its header is broken or claims more than `MAX_PIXELS`, or OpenCV fails to decode it;
- its size is not the annotation's, since then the boxes belong to another picture.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ssd.common.errors import UserError
from ssd.common.untrusted import MAX_PIXELS, check_pixels, read_regular
from ssd.data.cache import HostCache, Pixels
from ssd.structures import PackedSamples, Record, Sample

OLD_BMP_HEADER = 12  # bytes, of OS/2, with sizes of 16 bits
LARGEST_FILE = 8 * MAX_PIXELS  # bytes of an uncompressed image of 16 bits and four channels


class Request(NamedTuple):
    """Which image is wanted, and in which pass over the data."""

    epoch: int
    image_index: int


class DetectionDataset(Dataset[Sample]):
    """The images of some records, decoded on request."""

    def __init__(
        self,
        records: Sequence[Record],
        train_difficult: bool,
        strict: bool = False,
        cache: HostCache | None = None,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            records: the images.
            train_difficult: whether Samples contain objects marked `difficult`.
            strict: whether an unreadable image is an error, as an evaluation needs it.
                Otherwise another one stands in.
            cache: of the decoded images, by their positions in `records`.
            transform: changes every Sample once it is decoded.
        """
        self.records = records
        self.train_difficult = train_difficult
        self.strict = strict
        self.cache = cache
        self.transform = transform

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.records)

    def __getitem__(self, request: Request) -> Sample:
        """The wanted image, or the next readable one after it (after the last comes the first).

        `Sample.problems` tells of every unreadable image on the way.

        Raises:
            UserError: no image can be read; when strict, this image cannot be read; the
                transform fails.
        """
        problems: list[str] = []
        for step in range(len(self.records)):
            index = (request.image_index + step) % len(self.records)
            record = self.records[index]
            try:
                pixels = self._pixels(index)
            except UserError as error:
                if self.strict:
                    raise
                problems.append(str(error))
            else:
                sample = self.to_sample(record, request.epoch, pixels, tuple(problems))
                return sample if self.transform is None else self.transform(sample)
        raise UserError(f"none of {len(problems)} images is readable; {problems[0]}")

    def _pixels(self, index: int) -> Pixels:
        kept = self.cache.get(index) if self.cache else None
        if kept is not None:
            return kept
        pixels = read_pixels(self.records[index])
        if self.cache:
            self.cache.put(index, pixels)
        return pixels

    def to_sample(
        self, record: Record, epoch: int, pixels: Pixels, problems: tuple[str, ...] = ()
    ) -> Sample:
        """A record's image with the objects that training sees."""
        wanted = record.trained_on(self.train_difficult)
        return Sample(
            image_id=record.image_id,
            key=zlib.crc32(record.image_id.encode()),
            epoch=epoch,
            pixels=pixels,
            boxes=record.boxes[wanted],
            labels=record.labels[wanted],
            problems=problems,
        )


def pack(samples: Sequence[Sample]) -> PackedSamples:
    """Samples of any sizes in one buffer, their boxes padded to the most that one of them has.

    No samples at all give a pack of zero images; G is at least 1.
    """
    num_boxes = max([1, *(len(sample.labels) for sample in samples)])
    boxes = torch.zeros(len(samples), num_boxes, 4)
    labels = torch.zeros(len(samples), num_boxes, dtype=torch.int64)
    for row, sample in enumerate(samples):
        boxes[row, : len(sample.labels)] = torch.from_numpy(sample.boxes)
        labels[row, : len(sample.labels)] = torch.from_numpy(sample.labels)
    lengths = np.array([0, *(sample.pixels.size for sample in samples)])
    sizes = [sample.pixels.shape[:2] for sample in samples]
    pixels = [np.empty(0, np.uint8), *(sample.pixels.ravel() for sample in samples)]
    return PackedSamples(
        pixels=torch.from_numpy(np.concatenate(pixels)),
        offsets=torch.from_numpy(lengths.cumsum()[:-1]),
        sizes=torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2),
        boxes=boxes,
        labels=labels,
        keys=torch.tensor([sample.key for sample in samples], dtype=torch.int64),
        epochs=torch.tensor([sample.epoch for sample in samples], dtype=torch.int64),
        image_ids=[sample.image_id for sample in samples],
        problems=[problem for sample in samples for problem in sample.problems],
    )


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
    """(width, height) by the header, after a look at whether the end is there."""
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
