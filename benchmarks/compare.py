"""Sides that run by turns in one process: medians, and their ratio.

Machines are shared and noisy. So the sides run one after the other, round after round, and
what counts is the ratio of their medians.
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
        """One line: the sides, and how many times as long ours takes as each other."""
        (ours, own), *others = self.seconds.items()
        parts = [f"{ours} {own * 1e3:.1f} ms"]
        parts += [f"{name} {s * 1e3:.1f} ms (ratio {own / s:.2f})" for name, s in others]
        return f"{self.name:<34} {'   '.join(parts)}"


def compare(name: str, sides: Mapping[str, Side], rounds: int, device: torch.device) -> Comparison:
    """Runs every side once to warm up, then all of them in turn, `rounds` times.

    On several ranks, each of them has to call it, with sides that wait for one another.
    """
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    silent = not is_first()
    for turn in tqdm(range(-1, rounds), desc=name, leave=False, unit="round", disable=silent):
        for side, function in sides.items():
            synchronize(device)
            started = time.perf_counter()
            function()
            synchronize(device)
            if turn >= 0:
                seconds[side].append(time.perf_counter() - started)
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    return Comparison(name, medians)


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def machine(device: torch.device) -> str:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    return (
        f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}"
    )
