"""Passes items from workers to their parent, with the tensors in reused memory files.

PyTorch passes every tensor in a new piece of shared memory, and the kernel clears and maps its
pages one by one, which takes a good part of the decoding time. A memory file already has its pages
from the second parcel on: sending is a write, and receiving is a read. The size of /dev/shm does
not limit it, and a process that is killed leaves nothing behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Parcel:
    """An item, which is any dataclass, on its way from a worker.

    Attributes:
        item: the item without its tensors.
        layout: names, dtypes and shapes of its tensors, in their order in the file.
        file: descriptor of the memory file, which the receiver has too.
    """

    item: Any
    layout: list[tuple[str, torch.dtype, torch.Size]]
    file: int

    @classmethod
    def sent(cls, item: Any, file: int) -> Parcel:
        """Writes the item's tensors to the file, replacing its content.

        Raises:
            OSError: there is no room for them.
        """
        layout, at = [], 0
        for field in fields(item):
            tensor = getattr(item, field.name)
            if isinstance(tensor, Tensor):
                layout.append((field.name, tensor.dtype, tensor.shape))
                view = _bytes(tensor.contiguous())
                while view:
                    written = os.pwrite(file, view, at)
                    view, at = view[written:], at + written
        os.ftruncate(file, at)  # frees what a larger parcel took
        return cls(replace(item, **{name: None for name, _, _ in layout}), layout, file)

    def received(self) -> Any:
        """The item, copied to its own memory, so that the file can be written again."""
        tensors, at = {}, 0
        for name, dtype, shape in self.layout:
            tensors[name] = torch.empty(shape, dtype=dtype)
            view = _bytes(tensors[name])
            while view:
                read = os.preadv(self.file, [view], at)
                view, at = view[read:], at + read
        return replace(self.item, **tensors)

    def pin_memory(self) -> Any:
        """The item, in page-locked memory; the data loader calls this by name."""
        return self.received().pin_memory()


@contextmanager
def memory_files(count: int) -> Iterator[list[int]]:
    """Yields descriptors of empty memory files, which processes forked meanwhile inherit."""
    files = [os.memfd_create("images read ahead") for _ in range(count)]
    try:
        yield files
    finally:
        for file in files:
            os.close(file)


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return tensor.flatten().view(torch.uint8).numpy().data
