"""The ranks of a run: processes that torchrun started, each with its share of every step.

Without torchrun there is one rank, and none of these functions communicates.
"""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ssd.common.errors import UserError
from ssd.training.signals import Stopped

Item = TypeVar("Item")


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[None]:
    """Joins the ranks that torchrun started, until the context exits.

    Tensors on a GPU travel by NCCL, those on a CPU by gloo. Each rank uses the GPU with the index
    of its local rank. The block has to let go of all that communicates: a thread of gloo that still
    works when Python ends aborts the process (pytorch/pytorch#179291).

    Raises:
        UserError: the ranks would not find each other after a restart.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    on_gpu = device.type == "cuda"
    importlib.import_module("torch._dynamo")  # imported later, it holds the ranks' group for ever
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, own_rank, ranks = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=of_this_start(store),
        rank=own_rank,
        world_size=ranks,
    )
    try:
        yield
        dist.barrier()  # a rank that is through must not close its connections to one that is not
    finally:
        gc.collect()  # the group ends its threads when nothing refers to it
        dist.destroy_process_group()


def of_this_start(store: Any) -> Any:
    """The part of torchrun's store that belongs to the current start of the ranks.

    By default torchrun keeps one store across restarts, in which a restarted rank may find the
    address of a dead one (pytorch/pytorch#135712, #167288). On one machine, torchrun's restart
    count tells the starts apart. On several, each counts its own and needs a store per start.

    Raises:
        UserError: several machines share one store and may be started again.
    """
    environment = os.environ
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return store
    if environment.get("GROUP_WORLD_SIZE") == "1":
        start = environment["TORCHELASTIC_RESTART_COUNT"]
        return dist.PrefixStore(start, store)  # type: ignore[attr-defined]
    if environment.get("TORCHELASTIC_MAX_RESTARTS") != "0":
        raise UserError(
            "--max-restarts on several machines needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the "
            "environment of each torchrun, otherwise restarted ranks try to reach dead ones"
        )
    return store


def world_size() -> int:
    """The number of ranks that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this rank, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Returns whether this rank is the one that writes files and prints."""
    return rank() == 0


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in place, on its device; every rank has to call it."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def any_rank(*flags: bool) -> list[bool]:
    """Returns on every rank whether each flag is set on any rank; every rank has to call it."""
    return sum_over_ranks(torch.tensor(flags, dtype=torch.int64)).bool().tolist()


def from_first_rank(item: Item) -> Item:
    """The first rank's item, on all ranks."""
    items = [item]
    if dist.is_initialized():
        dist.broadcast_object_list(items)
    return items[0]


def made_by_first_rank(make: Callable[[], Item]) -> Item:
    """Returns on all ranks the result of `make` on the first one; the others do not call it.

    Raises:
        UserError, OSError, Stopped: `make` raised it. Every rank does, or they would wait.
    """
    item: Item | None = None
    problem: UserError | OSError | Stopped | None = None
    if is_first():
        try:
            item = make()
        except (UserError, OSError, Stopped) as error:
            problem = error
    item, problem = from_first_rank((item, problem))
    if problem is not None:
        raise problem
    return cast(Item, item)


def from_all_ranks(item: Item) -> list[Item]:
    """The items of all ranks in rank order, on every rank."""
    items = [item] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(items, item)
    return items


def without_ranks(model: nn.Module) -> nn.Module:
    """The model itself, unwrapped from DistributedDataParallel if need be."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def synchronise_batchnorm(model: nn.Module, device: torch.device) -> None:
    """Makes the BatchNorm layers of a model take their statistics over all ranks.

    Raises:
        UserError: the ranks do not train on GPUs, which PyTorch needs for this.
    """
    if world_size() > 1 and device.type != "cuda":
        raise UserError(
            f"training.sync_batchnorm needs GPUs, but these {world_size()} ranks train on "
            f"{device.type}: leave it off"
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]


def take_first_ranks_buffers(model: nn.Module) -> None:
    """Copies the first rank's buffers to all: BatchNorm's statistics differ between ranks."""
    if dist.is_initialized():
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)
