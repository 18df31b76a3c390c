"""Memory that workers write and their parent reads in place, so that images are not copied.

A ring has a few places, and a place takes the images of one item. A worker writes them, and the
parent reads them where they are until it lends the place to a worker again. The other, small
tensors of an item go through a pipe. The memory is that of unnamed files, which all processes map:
the size of /dev/shm does not limit it, and a process that is killed leaves nothing behind.

For a GPU, the parent page-locks the places once, so that copies from them are asynchronous.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ssd.common.errors import UserError
from ssd.common.tensors import tensors_of
from ssd.data.cache import Pixels
from ssd.data.page_lock import page_lock, page_unlock


@dataclass(frozen=True)
class Parcel:
    """An item on its way from a worker, which is any dataclass with a tensor `pixels` of bytes.

    Attributes:
        item: the item with arrays instead of its small tensors, and no pixels.
        shape: of the pixels, which are in a place.
    """

    item: Any
    shape: torch.Size


class Place:
    """Memory for the pixels of one item at a time, shared with the processes forked from this one.

    Nothing is mapped before it is needed, and then all at once, which takes a quarter of the time
    that the system needs page by page. The place grows to the largest item that it has taken.

    Args:
        capacity: bytes of an item that it should take without growing, at least 1.
    """

    def __init__(self, capacity: int) -> None:
        self._file = os.memfd_create("images read ahead")
        self._capacity = capacity
        self._memory = np.empty(0, np.uint8)
        self._locked = self._memory

    def room(self, size: int = 0) -> Pixels:
        """The memory to write to: at least `size` bytes.

        Raises:
            UserError: the machine has less memory.
        """
        size = max(size, self._capacity)
        reserved = os.fstat(self._file).st_size
        if reserved < size:
            try:  # a write to memory that the system lacks would end the process
                os.posix_fallocate(self._file, 0, size)
            except OSError as error:
                raise UserError(
                    f"not enough memory for the images that are read ahead ({error.strerror}): "
                    "lower data.workers"
                ) from error
        return self._mapped(max(size, reserved))

    def send(self, item: Any) -> Parcel:
        """Writes an item's pixels, if they are not in the place yet; called in a worker.

        Raises:
            UserError: the machine has no memory for them.
        """
        pixels = item.pixels.view(-1).numpy()
        memory = self.room(len(pixels))
        if not np.may_share_memory(pixels, memory):
            memory[: len(pixels)] = pixels
        small = {name: tensor.numpy() for name, tensor in tensors_of(item).items()}
        return Parcel(replace(item, **small | {"pixels": None}), item.pixels.shape)

    def receive(self, parcel: Parcel) -> Any:
        """The item, with its pixels in this place; all in page-locked memory if the place is."""
        size = parcel.shape.numel()
        if size <= len(self._locked):
            memory = self._locked
        else:
            memory = self._mapped(os.fstat(self._file).st_size)
        tensors = {
            name: torch.from_numpy(value)
            for name, value in vars(parcel.item).items()
            if isinstance(value, np.ndarray)
        }
        if len(self._locked):
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
        pixels = torch.from_numpy(memory[:size]).view(parcel.shape)
        return replace(parcel.item, pixels=pixels, **tensors)

    def lock(self) -> str:
        """Page-locks the memory; returns the reason if that fails, else nothing.

        The pixels of larger items, for which the place grows later, are not page-locked.
        """
        memory = self.room()
        problem = page_lock(memory)
        if not problem:
            self._locked = memory
        return problem

    def close(self) -> None:
        """Gives the memory back, once nothing refers to its items."""
        if len(self._locked):
            page_unlock(self._locked)
        os.close(self._file)

    def _mapped(self, size: int) -> Pixels:
        """The first `size` bytes of the file, which has as many, or more of them."""
        if len(self._memory) < size:
            at_once = mmap.MAP_SHARED | mmap.MAP_POPULATE
            self._memory = np.frombuffer(mmap.mmap(self._file, size, at_once), np.uint8)
        return self._memory


class Ring:
    """Places of one capacity, by number, some of which are free."""

    def __init__(self, count: int, capacity: int) -> None:
        self.places = [Place(capacity) for _ in range(count)]
        self._free = deque(range(count))

    def take(self) -> int:
        """The number of a free place, the one that has been free the longest."""
        return self._free.popleft()

    def give_back(self, number: int) -> None:
        """Makes a place free: its content is no longer needed."""
        self._free.append(number)

    def lock(self) -> str:
        """Page-locks the places; returns the reason if that fails, else nothing.

        Those that could not be locked work too: copies from them keep the host waiting.
        """
        problems = (place.lock() for place in self.places)
        return next(filter(None, problems), "")

    def close(self) -> None:
        """Gives the memory back, once nothing refers to its items."""
        for place in self.places:
            place.close()
