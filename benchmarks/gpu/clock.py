"""Times calls on a device that works on while the host goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.compare import synchronize
from ssd.common.graph import CudaCapture

WARM_UP = 3  # calls; `Graphs` runs plainly at the first, captures at the second, then replays
LEAST_CALLS = 3
HOST_CALLS = 7
SECONDS = 0.5  # of a round
ROUNDS = 3


def seconds_per_call(
    call: Callable[[], object], device: torch.device, seconds: float | None = None
) -> float:
    """The median over some rounds of about `seconds` each, by default `SECONDS`."""
    for _ in range(WARM_UP):
        call()
    estimate = timed(call, 1, device)
    calls = max(LEAST_CALLS, int((SECONDS if seconds is None else seconds) / estimate))
    return median(timed(call, calls, device) for _ in range(ROUNDS))


def timed(call: Callable[[], object], calls: int, device: torch.device) -> float:
    """Seconds per call of so many calls in a row."""
    synchronize(device)
    started = time.perf_counter()
    for _ in range(calls):
        call()
    synchronize(device)
    return (time.perf_counter() - started) / calls


def host_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Median seconds until a call returns while the device has nothing else to do.

    With work before it, the host would wait for room in the device's queue.
    """
    taken = []
    for _ in range(HOST_CALLS):
        synchronize(device)
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    synchronize(device)
    return median(taken)


def captured(function: Callable[[], None], device: torch.device) -> Callable[[], object]:
    """The function as a CUDA graph, without the cost of its launches; itself on a CPU."""
    if device.type != "cuda":
        return function
    for _ in range(WARM_UP):
        function()
    replay, _ = CudaCapture()(function)
    return replay
