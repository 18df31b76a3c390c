"""The optimizer, its parameter groups, and the learning rate as a pure function of progress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ssd.config import OptimizerConfig
from ssd.model.ssd import is_pretrained


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups the parameters: weights, biases, and other one-dimensional (normalisation) ones.

    With a `backbone_lr_factor`, those of the pretrained part of a backbone are groups of their own.
    Each group has an `lr_factor`, which multiplies the learning rate of the run. Caffe's SSD
    trains biases at twice the rate and without decay (`python/caffe/model_libs.py`).
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if config.backbone_lr_factor == 1:
        return groups_of(named, config, 1.0)
    pretrained = [(name, p) for name, p in named if is_pretrained(name)]
    rest = [(name, p) for name, p in named if not is_pretrained(name)]
    return groups_of(pretrained, config, config.backbone_lr_factor) + groups_of(rest, config, 1.0)


def groups_of(
    named: Sequence[tuple[str, nn.Parameter]], config: OptimizerConfig, factor: float
) -> list[dict[str, Any]]:
    """The groups of some parameters, whose learning rate is multiplied by `factor`."""
    weights = [p for _, p in named if p.ndim > 1]
    biases = [p for name, p in named if p.ndim <= 1 and name.endswith("bias")]
    scales = [p for name, p in named if p.ndim <= 1 and not name.endswith("bias")]
    decay = config.weight_decay
    small_decay = decay if config.decay_bias_and_norm else 0.0
    groups = [
        {"params": weights, "weight_decay": decay, "lr_factor": factor},
        {
            "params": biases,
            "weight_decay": small_decay,
            "lr_factor": factor * config.bias_lr_factor,
        },
        {"params": scales, "weight_decay": small_decay, "lr_factor": factor},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over the parameter groups of a model on its device.

    Both are fused, since only those can leave out an update by a flag on the device (`found_inf`).
    """
    groups = parameter_groups(model, config)
    match config.name:
        case "sgd":
            optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
            if config.momentum:
                # A first step that leaves out its update would keep momenta without a value.
                for parameter in [p for group in groups for p in group["params"]]:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return optimizer
        case "adamw":
            return torch.optim.AdamW(
                groups,
                lr=config.lr,
                betas=(config.momentum, 0.999),
                fused=True,
                capturable=next(model.parameters()).is_cuda,  # permits a CUDA graph
            )


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's momenta; the learning rate follows from the updates made."""
    content = optimizer.state_dict()
    for group in content["param_groups"]:
        del group["lr"]
    return content


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


def learning_rates(config: OptimizerConfig, total: int) -> Tensor:
    """The learning rates [total] float64 of all updates of a training, for lookup on a device."""
    rates = [learning_rate(config, update, total) for update in range(total)]
    return torch.tensor(rates, dtype=torch.float64)


def momentum_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Norm of all momentum buffers (Adam's first moments), a scalar; NaN if there are none yet."""
    states = optimizer.state.values()
    momenta = [state.get("momentum_buffer", state.get("exp_avg")) for state in states]
    kept = [momentum for momentum in momenta if momentum is not None]
    if not kept:
        device = optimizer.param_groups[0]["params"][0].device
        return torch.full((), torch.nan, device=device)
    return torch.nn.utils.get_total_norm(kept)


def update_weights(optimizer: torch.optim.Optimizer, lr: Tensor, finite: Tensor) -> None:
    """Updates the weights from their gradients, or leaves weights and momenta as they are.

    Not `GradScaler.step`: it would look for infinite gradients again, and it does not report on the
    device whether it skipped, which the buffers, the average and the schedule depend on.

    Args:
        optimizer: fused, so that it reads both tensors on the device.
        lr: the learning rate, a float64 scalar; each group multiplies it by its `lr_factor`.
        finite: whether to update, a bool scalar.
    """
    for group in optimizer.param_groups:
        scaled = lr * group["lr_factor"]
        group["lr"] = scaled.float() if scaled.is_cuda else scaled  # as the kernels read it
    optimizer.found_inf = (~finite).to(torch.float32)  # type: ignore[attr-defined]
    optimizer.step()
