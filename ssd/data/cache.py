"""Decoded images in host memory, kept by whoever decodes one first, for everyone who wants it.

The memory is a file without a name, which the ranks of a machine and their forked workers map. So
it is neither limited by the size of /dev/shm, nor left behind by a process that is killed.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.structures import IntArray, Record

Pixels = npt.NDArray[np.uint8]

KEPT = 1


def image_bytes(records: Sequence[Record]) -> IntArray:
    """How many bytes the pixels [H, W, 3] of each image take, uint8."""
    return np.array([3 * record.width * record.height for record in records], np.int64)


def num_that_fit(records: Sequence[Record], budget: int) -> int:
    """How many images, from the first one on, fit into so many bytes (and 1 more for each)."""
    return int(np.searchsorted((image_bytes(records) + 1).cumsum(), budget, side="right"))


def memory_needed(records: Sequence[Record]) -> int:
    """The bytes of a HostCache of these images.

    Raises:
        UserError: the machine has less.
    """
    needed = int(image_bytes(records).sum()) + len(records)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise UserError(
            f"data.cache host would take {needed / 1e9:.1f} GB, and this machine has "
            f"{memory / 1e9:.1f} GB: lower data.cache_gb"
        )
    return needed


class HostCache:
    """The pixels of some images, by their position, once they have been decoded.

    An image has its place from the start, by its annotation's size. A byte tells whether it is
    there; it is written after the pixels. Two that decode the same image write the same.

    Args:
        records: the images that may be kept: the first ones of the data set.
        file: of `memory_needed` bytes, zeros at first.
    """

    def __init__(self, records: Sequence[Record], file: Path) -> None:
        self._shapes = [(record.height, record.width, 3) for record in records]
        sizes = image_bytes(records)
        self._starts = (len(records) + sizes.cumsum() - sizes).tolist()
        with file.open("r+b") as opened:
            self._memory = np.frombuffer(mmap.mmap(opened.fileno(), 0), np.uint8)

    def __len__(self) -> int:
        """How many images may be kept."""
        return len(self._shapes)

    @property
    def num_kept(self) -> int:
        """How many are there by now."""
        return int((self._memory[: len(self)] == KEPT).sum())

    def get(self, index: int) -> Pixels | None:
        """The pixels [H, W, 3], to be read only, or None if they are not there."""
        if index >= len(self) or self._memory[index] != KEPT:
            return None
        pixels = self._place(index)
        pixels.flags.writeable = False
        return pixels

    def put(self, index: int, pixels: Pixels) -> None:
        """Keeps the pixels [H, W, 3] of an image, if it is one of those that may be."""
        if index < len(self):
            self._place(index)[:] = pixels
            self._memory[index] = KEPT

    def _place(self, index: int) -> Pixels:
        shape, start = self._shapes[index], self._starts[index]
        return self._memory[start : start + np.prod(shape)].reshape(shape)
