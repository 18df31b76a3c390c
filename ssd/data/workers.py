"""Decides how many worker processes decode images, if the user leaves it open."""

from __future__ import annotations

import os

from ssd.common.machine import usable_cores
from ssd.config import Workers

MOST = 16


def num_workers(setting: Workers, on_gpu: bool) -> int:
    """The worker processes of this rank that `data.workers` asks for.

    Args:
        setting: `data.workers`.
        on_gpu: whether the training process computes on a GPU.
    """
    return choose_workers(usable_cores(), local_ranks(), on_gpu) if setting == "auto" else setting


def choose_workers(cores: int, ranks: int, on_gpu: bool) -> int:
    """The workers of each rank where several ranks share the cores of a machine."""
    share = max(1, cores // ranks)
    return min(MOST, max(1, share - 1) if on_gpu else share)


def workers_line(setting: Workers, on_gpu: bool, for_training: bool) -> str:
    """The number of workers for a summary, and how it came about.

    Args:
        setting: `data.workers`.
        on_gpu: whether the training process computes on a GPU.
        for_training: whether training uses them; an evaluation always does.
    """
    line = f"{num_workers(setting, on_gpu)}{'' if for_training else ' to evaluate, none to train'}"
    if setting != "auto":
        return line
    cores, ranks = usable_cores(), local_ranks()
    shared = f" for {ranks} ranks" if ranks > 1 else ""
    return f"{line} (data.workers auto: {cores} core{'s' if cores > 1 else ''}{shared})"


def local_ranks() -> int:
    """The number of ranks on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
