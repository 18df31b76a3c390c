"""Decoded images in host memory, shared by all processes of a machine.

The process that decodes an image first keeps it for the others. The memory is an unnamed file
that the ranks and their forked workers map, so /dev/shm does not limit its size, and a process
that is killed leaves nothing behind.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.data.records import Records
from ssd.structures import IntArray, Record

Pixels = npt.NDArray[np.uint8]

KEPT = 1


def image_bytes(records: Sequence[Record]) -> IntArray:
    """The size in bytes of each image's uint8 pixels [H, W, 3]."""
    if isinstance(records, Records):  # asked for several times, and COCO has 118,287 images
        return np.asarray(3 * records.sizes.prod(1))
    return np.array([3 * record.width * record.height for record in records], np.int64)


def num_that_fit(records: Sequence[Record], budget: int) -> int:
    """Returns how many of the first images fit into `budget` bytes, with 1 extra byte for each."""
    return int(np.searchsorted((image_bytes(records) + 1).cumsum(), budget, side="right"))


def cache_size(records: Sequence[Record]) -> int:
    """The number of bytes that a HostCache of these images takes."""
    return int(image_bytes(records).sum()) + len(records)


def memory_needed(records: Sequence[Record]) -> int:
    """The number of bytes that a HostCache of these images takes.

    Raises:
        UserError: the machine has less memory.
    """
    needed = cache_size(records)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise UserError(
            f"data.cache host would take {needed / 1e9:.1f} GB, but this machine has "
            f"{memory / 1e9:.1f} GB: lower data.cache_gb"
        )
    return needed


class HostCache:
    """The decoded pixels of some images, by position.

    Every image has a fixed place, computed from the sizes in the annotations. One byte per image
    marks it as present; it is written after the pixels. Two processes that decode the same image
    write identical bytes.

    Args:
        records: the images that may be kept, which are the first ones of the data set.
        file: `memory_needed` bytes, initially zero.
    """

    def __init__(self, records: Sequence[Record], file: Path) -> None:
        self._shapes = [(record.height, record.width, 3) for record in records]
        sizes = image_bytes(records)
        self._starts = (len(records) + sizes.cumsum() - sizes).tolist()
        with file.open("r+b") as opened:
            self._memory = np.frombuffer(mmap.mmap(opened.fileno(), 0), np.uint8)

    def __len__(self) -> int:
        """The number of images that may be kept."""
        return len(self._shapes)

    @property
    def num_kept(self) -> int:
        """The number of images kept so far."""
        return int((self._memory[: len(self)] == KEPT).sum())

    def get(self, index: int) -> Pixels | None:
        """The read-only pixels [H, W, 3] of an image, or None if they are not in the cache."""
        if index >= len(self) or self._memory[index] != KEPT:
            return None
        pixels = self._place(index)
        pixels.flags.writeable = False
        return pixels

    def put(self, index: int, pixels: Pixels) -> None:
        """Keeps the pixels [H, W, 3] of an image if it is one of those that may be kept."""
        if index < len(self):
            self._place(index)[:] = pixels
            self._memory[index] = KEPT

    def _place(self, index: int) -> Pixels:
        shape, start = self._shapes[index], self._starts[index]
        return self._memory[start : start + np.prod(shape)].reshape(shape)
