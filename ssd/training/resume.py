"""Captures the state of a run for a checkpoint, and restores it as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ssd.common.errors import UserError, one_line
from ssd.config import Config
from ssd.config.settings import parse_yaml, to_config
from ssd.data.order import Order
from ssd.run.checkpoint import Checkpoint
from ssd.training.optimizer import optimizer_state, restore_optimizer
from ssd.training.ranks import from_all_ranks, rank, without_ranks
from ssd.training.reproducible import random_state, restore_random_state
from ssd.training.step import TrainState


def snapshot(state: TrainState, order: Order, device: torch.device) -> dict[str, Any]:
    """Everything that is needed to resume; every rank has to call it.

    The tensors are not copies: the next step changes them.
    """
    return {
        "model": without_ranks(state.model).state_dict(),
        "average": None if state.average is None else state.average.model.state_dict(),
        "optimizer_name": optimizer_name(state),
        "optimizer": optimizer_state(state.optimizer),
        "scaler": state.scaler.state_dict(),
        "random": from_all_ranks(random_state(device)),
        "images_per_step": order.images_per_step,
        "step": state.step,
        "updates": int(state.updates),
        "skipped_in_row": state.skipped_in_row,
    }


def as_it_began(config: Config, checkpoint: Checkpoint) -> Config:
    """The config of a resumed run, with the `loss.short_step` that the run began with.

    A run that is older than this setting counted its short steps in full.
    """
    saved = parse_yaml(checkpoint.config_yaml, f"the config of {checkpoint.path}")
    section = saved.get("loss")
    rule = section.get("short_step", "full") if isinstance(section, dict) else "full"
    began = to_config({"loss": {"short_step": rule}}).loss
    return replace(config, loss=replace(config.loss, short_step=began.short_step))


def restore(
    checkpoint: Checkpoint,
    state: TrainState,
    order: Order,
    classes: list[str],
    device: torch.device,
) -> None:
    """Restores the state that was saved in a checkpoint, on any number of ranks.

    Raises:
        UserError: the checkpoint has other classes, another model or optimizer, or steps of
            another size, with which the position in the epoch would change.
    """
    content, path = checkpoint.state, checkpoint.path
    try:
        _same(
            f"{path} was trained on the classes",
            *(checkpoint.manifest.classes, classes, "data.classes"),
        )
        _same(
            f"{path} was trained with",
            *(content["optimizer_name"], optimizer_name(state), "optimizer.name"),
        )
        _same(
            f"{path} was trained with this number of images per step:",
            *(content["images_per_step"], order.images_per_step, "batch_size x accumulate x ranks"),
        )
        without_ranks(state.model).load_state_dict(content["model"])
        if state.average is not None:
            state.average.model.load_state_dict(content["average"] or content["model"])
        restore_optimizer(state.optimizer, content["optimizer"])
        state.scaler.load_state_dict(content["scaler"])
        if rank() < len(content["random"]):
            restore_random_state(content["random"][rank()], device)
        state.step, state.skipped_in_row = content["step"], content["skipped_in_row"]
        state.updates.fill_(content["updates"])
    except UserError:
        raise
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} does not fit the model and optimizer of this config: {one_line(error)[:300]}"
        ) from error


def optimizer_name(state: TrainState) -> str:
    """The name of the optimizer, as in the config."""
    return type(state.optimizer).__name__.lower()


def _same(claim: str, saved: Any, here: Any, setting: str) -> None:
    if saved != here:
        raise UserError(
            f"{claim} {saved}, but here it is {here}: give the same {setting}, or start a new run "
            "with another --out"
        )
