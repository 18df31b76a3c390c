"""Seeds, and equal bits for equal runs."""

from __future__ import annotations

import os

import torch


def seed_everything(seed: int, deterministic: bool) -> None:
    """Seeds torch's generators and, if asked, allows only algorithms that repeat bit for bit.

    Order and augmentation need no generator: they are functions of (seed, epoch, image).
    """
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)


def random_state() -> dict[str, object]:
    """The state of torch's generators, to be saved with a checkpoint."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: dict[str, object]) -> None:
    """Puts torch's generators back to where `random_state` found them."""
    torch.set_rng_state(state["cpu"])  # type: ignore[arg-type]
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])  # type: ignore[arg-type]
