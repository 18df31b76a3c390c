"""Decides where a run keeps its decoded training images, and how much they may take there."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

from ssd.common.errors import UserError
from ssd.common.machine import free_memory, shares_memory
from ssd.config import DataConfig
from ssd.training.ranks import from_all_ranks

Place = Literal["none", "host", "device"]


class Memory(NamedTuple):
    """Bytes of the machine's memory and of a GPU's; without a GPU, that has 0."""

    host: int
    device: int


class CachePlace(NamedTuple):
    """The memory in which decoded images are kept.

    Attributes:
        name: the memory; with `none`, every image is decoded in every epoch.
        budget: bytes that they may take there.
        reason: why nothing is kept, in a few words; empty if the user wants it so.
    """

    name: Place
    budget: int = 0
    reason: str = ""


def free_on_all_ranks(device: torch.device) -> Memory:
    """The memory that is free for the rank that has the least; every rank has to call it."""
    on_device = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    host, on_devices = zip(*from_all_ranks((free_memory(), on_device)), strict=True)
    return Memory(min(host), min(on_devices))


def cache_place(
    data: DataConfig,
    needed: int,
    free: Memory,
    device_type: str,
    *,
    repeats: bool,
    in_workers: bool,
) -> CachePlace:
    """The place that `data.cache` names or, with `auto`, the fastest one that has room.

    Args:
        data: the section of the config.
        needed: bytes of the whole set.
        free: the same on all ranks, so that they decide alike.
        device_type: of the device that the run computes on.
        repeats: whether some image comes more than once in this run.
        in_workers: whether transforms run in the workers, which images on a device never reach.

    Raises:
        UserError: the user wants `device`, but the run has none, or has such transforms; or wants
            `host`, which this system does not have.
    """
    if data.cache == "device" and device_type != "cuda":
        raise UserError(
            f"data.cache is device, which needs a CUDA device, but this run trains on "
            f"{device_type}: give --data.cache host"
        )
    if data.cache == "device" and in_workers:
        raise UserError(
            "data.cache is device, but Albumentations (augment.library) runs in the workers: "
            "give --data.cache host"
        )
    if data.cache == "host" and not shares_memory():
        raise UserError("data.cache is host, which needs Linux: give --data.cache none")
    half = Memory(free.host // 2 if shares_memory() else 0, free.device // 2)
    limit = None if data.cache_gb is None else int(data.cache_gb * 1e9)
    if data.cache == "none":
        return CachePlace("none")
    if data.cache != "auto":
        return CachePlace(data.cache, getattr(half, data.cache) if limit is None else limit)
    if not repeats:
        return CachePlace("none", reason="no image comes twice in this run")
    room = half if limit is None else Memory(*(min(limit, part) for part in half))
    if needed <= room.device and not in_workers:
        return CachePlace("device", room.device)
    if needed <= room.host:
        return CachePlace("host", room.host)
    room_gb = f"{room.host / 1e9:.2f} GB that may be used"
    return CachePlace("none", reason=f"{needed / 1e9:.2f} GB of images do not fit into {room_gb}")
