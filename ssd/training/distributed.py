"""The ranks of a run; without a process group there is one."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """How many ranks train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in place, on its device; every rank has to call it."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value
