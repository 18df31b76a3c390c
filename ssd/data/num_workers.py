"""Decides how many worker processes decode images, if the user leaves it open."""

from __future__ import annotations

import os

from ssd.common.machine import usable_cores
from ssd.config import Workers

MOST = 16


def num_workers(setting: Workers, beside: str | None) -> int:
    """The worker processes of this rank that `data.workers` asks for.

    Args:
        setting: `data.workers`.
        beside: type of the device on which the process itself computes meanwhile, `cpu` or `cuda`;
            None if it does nothing else.
    """
    return choose_workers(usable_cores(), local_ranks(), beside) if setting == "auto" else setting


def choose_workers(cores: int, ranks: int, beside: str | None) -> int:
    """The workers of each rank where several ranks share the cores of a machine.

    A GPU leaves all cores but one to them. A network on the CPU needs the cores itself: it takes
    some 8 times as long for an image as decoding does. On two cores, no worker at all is fastest.
    """
    share = max(1, cores // ranks)
    match beside:
        case "cuda":
            return min(MOST, max(1, share - 1))
        case "cpu":
            return min(MOST, share // 4)
        case _:
            return min(MOST, share)


def workers_line(setting: Workers, beside: str, for_training: bool) -> str:
    """The number of workers for a summary, and how it came about.

    Args:
        setting: `data.workers`.
        beside: as for `num_workers`.
        for_training: whether training uses them; an evaluation always does.
    """
    line = f"{num_workers(setting, beside)}{'' if for_training else ' to evaluate, none to train'}"
    if setting != "auto":
        return line
    cores, ranks = usable_cores(), local_ranks()
    shared = f" for {ranks} ranks" if ranks > 1 else ""
    return f"{line} (data.workers auto: {cores} core{'s' if cores > 1 else ''}{shared})"


def local_ranks() -> int:
    """The number of ranks on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
