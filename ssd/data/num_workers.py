"""Decides how many worker processes decode images, if the user leaves it open."""

from __future__ import annotations

import os
from functools import cache

from ssd.common.machine import shares_memory, usable_cores
from ssd.common.progress import say
from ssd.common.words import counted
from ssd.config import Workers

MOST = 16


def num_workers(setting: Workers, beside: str | None) -> int:
    """The worker processes of this rank that `data.workers` asks for; none but on Linux.

    Args:
        setting: `data.workers`.
        beside: type of the device on which the process itself computes meanwhile, `cpu` or `cuda`;
            None if it does nothing else.
    """
    if not shares_memory():
        if setting not in ("auto", 0):
            _tell_none(setting)
        return 0
    return choose_workers(usable_cores(), local_ranks(), beside) if setting == "auto" else setting


@cache  # once, although every evaluation asks
def _tell_none(setting: int) -> None:
    line = f"data.workers is {setting}, but workers need Linux: this process decodes the images"
    say(line, to_stderr=True)


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
    if not shares_memory():
        return f"{line} (data.workers auto: only Linux has workers)"
    cores, ranks = usable_cores(), local_ranks()
    shared = f" for {ranks} ranks" if ranks > 1 else ""
    return f"{line} (data.workers auto: {counted(cores, 'core')}{shared})"


def local_ranks() -> int:
    """The number of ranks on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
