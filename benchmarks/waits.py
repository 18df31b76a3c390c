"""Counts how often a training step makes the host wait for the GPU, and finds the places.

No wait is intended. torch's debug mode finds operations that read a value back, but not those of
`torch.distributed` or copies from unpinned memory (docs of `torch.cuda.set_sync_debug_mode`).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from benchmarks.compare import Side
from benchmarks.training import our_step, random_batch
from ssd.config import ModelConfig
from ssd.model.device import autocast_dtype

WAITED = "called a synchronizing CUDA operation"
STEPS_BEFORE = 3  # the first one has no momentum yet


def benchmark_waits(config: ModelConfig, batch_size: int, device: torch.device) -> str:
    """Counts the waits of a step and names their places, in a line."""
    places = waits_of_a_step(config, batch_size, device)
    named = f" ({', '.join(places)})" if places else ""
    return f"{'waits of the host in a step':<34} {len(places)}{named}"


def waits_of_a_step(config: ModelConfig, batch_size: int, device: torch.device) -> list[str]:
    """The places where a step in the default training precision waits; needs a GPU."""
    batch = random_batch(batch_size, config.input_size, device)
    step = our_step(config, batch, autocast_dtype("auto", device))
    for _ in range(STEPS_BEFORE):
        step()
    return waits(step)


def waits(step: Side) -> list[str]:
    """The places where a step waits for the GPU, as `file.py:line`, one for each wait."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [(warning, f"{Path(warning.filename).name}:{warning.lineno}") for warning in caught]
    return [place for warning, place in places if WAITED in str(warning.message)]
