"""What workers hand over: pickles, whose arrays travel in memory files that are used again.

PyTorch hands every tensor over in shared memory of its own, and the kernel clears and maps its
pages one by one, which takes a good part of the time of decoding. A file in memory has its pages
from the second parcel on: to send is to write, to receive is to read. The size of /dev/shm does not
limit it, and a process that is killed leaves nothing behind.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Parcel:
    """An item on its way from a worker.

    Attributes:
        file: descriptor of the memory file that holds the arrays; the receiver has it too.
        pickled: the item without its arrays.
        lengths: bytes of each array, as they lie one after another.
    """

    file: int
    pickled: bytes
    lengths: list[int]

    @classmethod
    def sent(cls, item: object, file: int) -> Parcel:
        """Writes the item's arrays to the file, in the place of what is there.

        Raises:
            OSError: there is no room for them.
        """
        pickled, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
        _Pickler(pickled, protocol=5, buffer_callback=buffers.append).dump(item)
        views = [buffer.raw() for buffer in buffers]
        lengths, at = [len(view) for view in views], 0
        for view in views:
            while view:
                written = os.pwrite(file, view, at)
                view, at = view[written:], at + written
        os.ftruncate(file, at)  # what a larger parcel took is given back
        return cls(file, pickled.getvalue(), lengths)

    def received(self) -> Any:
        """The item, in memory of its own: the file may be written to again."""
        arrays, at = [np.empty(length, np.uint8) for length in self.lengths], 0
        for array in arrays:
            view = array.data
            while view:
                read = os.preadv(self.file, [view], at)
                view, at = view[read:], at + read
        return pickle.loads(self.pickled, buffers=arrays)

    def pin_memory(self) -> Any:
        """The item, in page-locked memory; the data loader calls this by name."""
        return self.received().pin_memory()


@contextmanager
def memory_files(count: int) -> Iterator[list[int]]:
    """Descriptors of empty files in memory; processes that are forked meanwhile have them too."""
    files = [os.memfd_create("images read ahead") for _ in range(count)]
    try:
        yield files
    finally:
        for file in files:
            os.close(file)


class _Pickler(pickle.Pickler):
    """Leaves the numbers of tensors to the buffers, as those of arrays are."""

    def reducer_override(self, item: object) -> Any:
        if isinstance(item, Tensor):
            return torch.from_numpy, (item.numpy(),)
        return NotImplemented
