"""Times the augmentation on a GPU: the kernel alone, and the plan alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch

from benchmarks.feeding import AUGMENT, KERNEL_BATCH, KERNEL_SIZE, SEED, kernel_sides, noise
from benchmarks.gpu import clock
from benchmarks.gpu.rows import Row
from benchmarks.gpu.steps import refuse
from ssd.augment.plan import Plan, draw_plan
from ssd.common.graph import Graphs
from ssd.structures import PackedSamples, to_device


def time_kernel(device: torch.device) -> Iterator[Row]:
    """Times the kernel, which needs a GPU."""
    for name, call in kernel_sides(device).items():
        rate = KERNEL_BATCH / clock.seconds_per_call(call, device)
        yield Row(f"augmentation kernel, {name}", rate, "images/s")


def time_plan(batch_size: int, device: torch.device) -> Iterator[Row]:
    """Times the drawing of a plan, launched by the host and as a graph."""
    samples = to_device(noise(batch_size, *KERNEL_SIZE), device)
    samples = replace(samples, pixels=samples.pixels[:0])  # a graph would copy them

    def draw(samples: PackedSamples) -> Plan:
        return draw_plan(samples, SEED, AUGMENT)

    kinds: dict[str, Callable[[PackedSamples], Plan]]
    kinds = {"plain": draw, "graph": Graphs(draw, refuse)}
    for kind, function in kinds.items():
        seconds = clock.seconds_per_call(partial(function, samples), device)
        yield Row(f"plan, batch {batch_size}, {kind}", 1e3 * seconds, "ms")
