"""The optimizer, its parameter groups, and the learning rate as a pure function of progress."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ssd.config import OptimizerConfig


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups the parameters: weights, biases, and other one-dimensional (normalisation) ones.

    Each group has an `lr_factor`, which multiplies the learning rate of the run. Caffe's SSD
    trains biases at twice the rate and without decay (`python/caffe/model_libs.py`).
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    weights = [p for _, p in named if p.ndim > 1]
    biases = [p for name, p in named if p.ndim <= 1 and name.endswith("bias")]
    scales = [p for name, p in named if p.ndim <= 1 and not name.endswith("bias")]
    decay = config.weight_decay
    small_decay = decay if config.decay_bias_and_norm else 0.0
    groups = [
        {"params": weights, "weight_decay": decay, "lr_factor": 1.0},
        {"params": biases, "weight_decay": small_decay, "lr_factor": config.bias_lr_factor},
        {"params": scales, "weight_decay": small_decay, "lr_factor": 1.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over the parameter groups of a model."""
    groups = parameter_groups(model, config)
    match config.name:
        case "sgd":
            return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
        case "adamw":
            return torch.optim.AdamW(
                groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True
            )


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restores an optimizer's momenta; it keeps the settings that it was built with."""
    own = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings)


def scaled_learning_rate(config: OptimizerConfig, images_per_step: int) -> OptimizerConfig:
    """Scales the learning rate to steps of that many images, if `lr_images` is set.

    Source: Goyal et al., "Accurate, Large Minibatch SGD" (2017), section 2.1.
    """
    if config.lr_images is None:
        return config
    return replace(config, lr=config.lr * images_per_step / config.lr_images)


def learning_rate(config: OptimizerConfig, update: int, total: int) -> float:
    """The learning rate of an update of the weights.

    Args:
        config: the schedule.
        update: updates made so far; skipped steps do not count.
        total: updates of the whole training.
    """
    warmup = min(config.warmup_steps, total // 10)
    if update < warmup:
        return config.lr * (update + 1) / (warmup + 1)
    progress = update / total
    match config.schedule:
        case "constant":
            return config.lr
        case "multistep":
            drops = sum(progress >= milestone for milestone in config.milestones)
            return config.lr * float(config.gamma**drops)
        case "cosine":
            falling = min(1.0, (update - warmup) / max(1, total - warmup))
            return config.lr * 0.5 * (1 + math.cos(math.pi * falling))


def momentum_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Norm of all momentum buffers (Adam's first moments), a scalar; NaN if there are none yet."""
    states = optimizer.state.values()
    momenta = [state.get("momentum_buffer", state.get("exp_avg")) for state in states]
    kept = [momentum for momentum in momenta if momentum is not None]
    if not kept:
        device = optimizer.param_groups[0]["params"][0].device
        return torch.full((), torch.nan, device=device)
    return torch.nn.utils.get_total_norm(kept)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of every parameter group to `lr` times its `lr_factor`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
