"""Seeds, random states, and bitwise reproducible runs."""

from __future__ import annotations

import os

import torch
from torch import Tensor


def seed_everything(seed: int, deterministic: bool) -> None:
    """Seeds torch's generators and, if asked, allows only deterministic algorithms.

    Order and augmentation need no generator: they are functions of (seed, epoch, image).
    """
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(deterministic)  # imports PyTorch's compiler: a second


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of the generators that a run on `device` uses, for its checkpoints."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restores the generators to a saved state; a generator without one is left alone."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
