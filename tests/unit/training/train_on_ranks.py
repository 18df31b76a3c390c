"""Trains a small network without BatchNorm for ten steps; torchrun starts it, with any ranks.

    torchrun --nproc-per-node 2 train_on_ranks.py OUT

Of 65 images, most of which have no object, every step takes 24, the last one of an epoch 17. For
each layout the first rank writes OUT/DIVISOR_WORLD_SIZE_ACCUMULATE.pt: the parameters, and for each
step the loss and how many ranks had no object at all.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from ssd.config import DIVISORS, LossConfig, ModelConfig, OptimizerConfig
from ssd.data.order import Order
from ssd.model.ssd import build_model
from ssd.structures import Batch
from ssd.training.optimizer import build_optimizer
from ssd.training.ranks import is_first, joined_ranks, rank, sum_over_ranks, world_size
from ssd.training.step import StepSettings, TrainState, train_step

IMAGES, GLOBAL_BATCH, STEPS, SIZE = 65, 24, 10, 96
LAYOUTS = [("step_positives", 1), ("step_positives", 2), ("step_positives", 3)]
LAYOUTS += [(divisor, 1) for divisor in DIVISORS if divisor != "step_positives"]


def images_and_objects():
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(IMAGES, 3, SIZE, SIZE, generator=generator)
    corners = torch.rand(IMAGES, 4, 2, generator=generator) * 0.6
    sides = 0.1 + 0.3 * torch.rand(IMAGES, 4, 2, generator=generator)
    labels = torch.randint(1, 4, (IMAGES, 4), generator=generator)
    counts = torch.randint(0, 5, (IMAGES, 1), generator=generator)
    counts[torch.rand(IMAGES, generator=generator) < 0.6] = 0
    labels[torch.arange(4) >= counts] = 0
    return images, torch.cat([corners, corners + sides], -1), labels


def without_norm(module):
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        else:
            without_norm(child)
    return module


def train(divisor, accumulate):
    images, boxes, labels = images_and_objects()
    ranks = world_size()
    batch_size = GLOBAL_BATCH // (accumulate * ranks)
    order = Order(IMAGES, batch_size, accumulate, ranks, seed=5, drop_last=False)
    torch.manual_seed(1)
    model = without_norm(build_model(ModelConfig("ssd7", SIZE), 4))
    wrapped = nn.parallel.DistributedDataParallel(model) if ranks > 1 else model
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.002, momentum=0.9))
    state = TrainState(wrapped, optimizer, torch.amp.GradScaler("cpu", enabled=False))
    settings = StepSettings(
        model.default_boxes,
        torch.tensor([0.002], dtype=torch.float64),
        LossConfig(divisor=divisor),
        images_per_step=order.images_per_step,
    )
    losses, bare_ranks = [], []
    for step in range(STEPS):
        parts = order.micro_batches(step, rank())
        batches = [Batch(images[part], boxes[part], labels[part], []) for part in parts]
        bare = torch.tensor(float(not any((batch.labels > 0).any() for batch in batches)))
        figures = train_step(state, batches, settings)
        loss = figures.sums.loss_under["step_positives"]
        losses.append(sum_over_ranks(loss).item() / ranks)
        bare_ranks.append(sum_over_ranks(bare).item())
    parameters = torch.cat([p.detach().flatten() for p in model.parameters()])
    return {"parameters": parameters, "losses": losses, "bare_ranks": bare_ranks}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined_ranks(torch.device("cpu")):
        for layout in LAYOUTS:
            result = train(*layout)
            if is_first():
                divisor, accumulate = layout
                name = f"{divisor}_{world_size()}_{accumulate}.pt"
                torch.save(result, Path(sys.argv[1]) / name)
