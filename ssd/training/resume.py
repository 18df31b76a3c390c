"""Captures the state of a run for a checkpoint, and restores it as if nothing had happened."""

from __future__ import annotations

from typing import Any

import torch

from ssd.common.errors import UserError, one_line
from ssd.data.order import Order
from ssd.run.checkpoint import Checkpoint
from ssd.training.optimizer import optimizer_state, restore_optimizer
from ssd.training.ranks import from_all_ranks, rank, without_ranks
from ssd.training.reproducible import random_state, restore_random_state
from ssd.training.step import TrainState


def snapshot(
    state: TrainState, order: Order, images: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """Everything that is needed to resume; every rank has to call it.

    The tensors are not copies: the next step changes them.

    Args:
        state: of the run.
        order: of the images to train on.
        images: their `fingerprint`.
        device: the device that the run computes on.
    """
    return {
        "model": without_ranks(state.model).state_dict(),
        "average": None if state.average is None else state.average.model.state_dict(),
        "optimizer": optimizer_state(state.optimizer),
        "scaler": state.scaler.state_dict(),
        "random": from_all_ranks(random_state(device)),
        "images_per_step": order.images_per_step,
        "images": images,
        "step": state.step,
        "updates": int(state.updates),
        "skipped_in_row": state.skipped_in_row,
    }


def restore(checkpoint: Checkpoint, state: TrainState, device: torch.device) -> None:
    """Restores the state that was saved in a checkpoint, on any number of ranks.

    The checkpoint is of a run with these settings: see `ssd.training.changes`.

    Raises:
        UserError: what the checkpoint holds is not what its config describes.
    """
    content = checkpoint.state
    try:
        without_ranks(state.model).load_state_dict(content["model"])
        if state.average is not None:
            state.average.model.load_state_dict(content["average"] or content["model"])
        restore_optimizer(state.optimizer, content["optimizer"])
        if content["scaler"]:  # empty unless the run computed in fp16
            state.scaler.load_state_dict(content["scaler"])
        if rank() < len(content["random"]):
            restore_random_state(content["random"][rank()], device)
        state.step, state.skipped_in_row = content["step"], content["skipped_in_row"]
        state.updates.fill_(content["updates"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{checkpoint.path} does not fit the model and optimizer of its own config: "
            f"{one_line(error)[:300]}"
        ) from error
