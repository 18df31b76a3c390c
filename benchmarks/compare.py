"""Compares sides that run by turns in one process: their medians, and the ratio of these.

Machines are shared and noisy, so the sides run one after the other, round after round, and the
ratio of their medians is the result.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torchvision
from tqdm import tqdm

from ssd.training.ranks import is_first

Side = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """Median seconds of each side; the first side is ours."""

    name: str
    seconds: dict[str, float]

    def __str__(self) -> str:
        """One line: the time of each side, and the ratio of ours to each other one."""
        (ours, own), *others = self.seconds.items()
        parts = [f"{ours} {own * 1e3:.1f} ms"]
        parts += [f"{name} {s * 1e3:.1f} ms (ratio {own / s:.2f})" for name, s in others]
        return f"{self.name:<34} {'   '.join(parts)}"


def compare(
    name: str,
    sides: Mapping[str, Side],
    rounds: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Runs every side once to warm up, then all of them in turn, `rounds` times.

    On several ranks, every rank has to call it, with sides that wait for one another.
    """
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    silent = None if is_first() else True  # None: unless stderr is a terminal
    for turn in tqdm(range(-1, rounds), desc=name, leave=False, unit="round", disable=silent):
        for side, function in sides.items():
            synchronize(device)
            started = clock()
            function()
            synchronize(device)
            if turn >= 0:
                seconds[side].append(clock() - started)
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    return Comparison(name, medians)


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def machine(device: torch.device) -> str:
    """The device and library versions of a measurement, in one line."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    return (
        f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}"
    )
