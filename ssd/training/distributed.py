"""The ranks of a run: processes that torchrun started, each with its share of every step.

Without torchrun there is one rank, and every function here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Item = TypeVar("Item")


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[None]:
    """Joins the ranks that torchrun started, for as long as it is entered.

    Tensors on a GPU go by NCCL, those on a CPU by gloo. Each rank takes the GPU of its number on
    its machine.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """How many ranks train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this rank, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this rank is the one that writes files and speaks."""
    return rank() == 0


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Lets the first rank through before the others, so that what it makes is there for them."""
    if dist.is_initialized() and not is_first():
        dist.barrier()
    yield
    if dist.is_initialized() and is_first():
        dist.barrier()


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in place, on its device; every rank has to call it."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank; every rank has to call it, and all get one answer."""
    return bool(sum_over_ranks(torch.tensor(int(flag))))


def from_first_rank(item: Item) -> Item:
    """The first rank's item, on all ranks."""
    items = [item]
    if dist.is_initialized():
        dist.broadcast_object_list(items)
    return items[0]


def from_all_ranks(item: Item) -> list[Item]:
    """The items of all ranks, in their order, on every rank."""
    items = [item] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(items, item)
    return items


def take_first_ranks_buffers(model: nn.Module) -> None:
    """Gives every rank the first one's buffers: BatchNorm's statistics are of its own images."""
    if dist.is_initialized():
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)
