"""What workers hand over: items whose tensors travel in memory files that are used again.

PyTorch hands every tensor over in shared memory of its own, and the kernel clears and maps its
pages one by one, which takes a good part of the time of decoding. A file in memory has its pages
from the second parcel on: to send is to write, to receive is to read. The size of /dev/shm does not
limit it, and a process that is killed leaves nothing behind.
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
    """An item, some dataclass, on its way from a worker.

    Attributes:
        item: the item; its tensors are left out.
        layout: names, dtypes and shapes of its tensors, as they lie in the file one after another.
        file: descriptor of the memory file; the receiver has it too.
    """

    item: Any
    layout: list[tuple[str, torch.dtype, torch.Size]]
    file: int

    @classmethod
    def sent(cls, item: Any, file: int) -> Parcel:
        """Writes the item's tensors to the file, in the place of what is there.

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
        os.ftruncate(file, at)  # what a larger parcel took is given back
        return cls(replace(item, **{name: None for name, _, _ in layout}), layout, file)

    def received(self) -> Any:
        """The item, in memory of its own: the file may be written to again."""
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
    """Descriptors of empty files in memory; processes that are forked meanwhile have them too."""
    files = [os.memfd_create("images read ahead") for _ in range(count)]
    try:
        yield files
    finally:
        for file in files:
            os.close(file)


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return tensor.flatten().view(torch.uint8).numpy().data
