"""The cores and the memory that this process may use: the machine's, or less in a container.

A container's limits are those of its control groups (cgroups), of version 1 or 2. `root` is where
the files of the kernel are; the tests have some of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def shares_memory() -> bool:
    """Returns whether processes can be forked and share unnamed memory, as on Linux."""
    return hasattr(os, "fork") and hasattr(os, "memfd_create")


def usable_cores(root: Path = ROOT) -> int:
    """The cores that this process may use: by its affinity, or by its CPU quota if that is less."""
    quotas = (quota for group in _groups("cpu", root) for quota in _quota(group))
    if hasattr(os, "sched_getaffinity"):  # on Linux
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, int(min([cores, *quotas])))


def free_memory(root: Path = ROOT) -> int:
    """The bytes that this process may still take, page cache that can be given up included.

    0 if the machine does not tell.
    """
    lines = (line.split() for line in _text(root / "proc/meminfo").splitlines())
    available = sum(1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:")
    left = (left for group in _groups("memory", root) for left in _memory_left(group))
    return max(0, min([available, *left]))


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's groups and of those around them, whose limits all hold.

    In a container the topmost folder may be the container's group, while its path is the one on
    the host. Of the folders named here, some may therefore not exist.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        names = PurePosixPath(path).parts[1:]
        yield from (top.joinpath(*names[:count]) for count in range(len(names) + 1))


def _quota(group: Path) -> Iterator[float]:
    """The cores that a group may use, if it has a limit."""
    old = f"{_text(group / 'cpu.cfs_quota_us')} {_text(group / 'cpu.cfs_period_us')}"
    match (_text(group / "cpu.max") or old).split():
        case [quota, period] if quota.isdigit():  # else `max`, or -1
            yield int(quota) / int(period)


def _memory_left(group: Path) -> Iterator[int]:
    """The bytes that a group may still take, if it has a limit; its inactive page cache is free."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most = _text(group / limit)
        if most.isdigit():  # else `max`, or no such file
            lines = (line.split() for line in _text(group / "memory.stat").splitlines())
            given_up = sum(int(words[1]) for words in lines if words[0] == cache)
            yield int(most) - int(_text(group / used) or 0) + given_up


def _text(file: Path) -> str:
    """The text of a file of the kernel; empty if it cannot be read."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
