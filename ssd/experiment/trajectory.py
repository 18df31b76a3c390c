"""Compares the same training with whole steps and with steps split into micro-batches.

With gradient accumulation over micro-batches of unequal sizes, only `step_positives` follows the
same path through the weights as the large batch; the other divisors average means. BatchNorm is
held at its first statistics, since those of a micro-batch differ from those of the whole.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from ssd.augment.batch import preprocess_of
from ssd.augment.library import library_transform
from ssd.common.progress import Progress
from ssd.config import DIVISORS, Config, Divisor
from ssd.data.dataset import DetectionDataset, Request, pack
from ssd.data.order import Order
from ssd.data.voc import read_voc
from ssd.experiment.scenario import gradient_factor, same_way
from ssd.model.ssd import SSD, build_model
from ssd.structures import Batch
from ssd.training.optimizer import build_optimizer, learning_rates
from ssd.training.reproducible import seed_everything
from ssd.training.step import StepSettings, TrainState, train_step

NUM_STEPS = 20
SIZES = (7, 5, 3, 1)


def trajectory_distances(
    base: Config, data_root: Path, dtype: torch.dtype = torch.float32
) -> dict[Divisor, float]:
    """The distance at which the split training ends from the whole one, by divisor, on the CPU.

    Args:
        base: model, optimizer and seed; the learning rate warms up.
        data_root: a VOC folder with the list `trainval`, of at least as many images as a step has.
        dtype: of the weights and images.

    Returns:
        |weights split - weights whole| / |weights whole| after NUM_STEPS. In fp32, rounding alone
        starts at 1e-9 and grows; it jumps where rounding swaps one hard negative for another.
    """
    data = read_voc(data_root, ["trainval"], None)
    order = Order(len(data.records), sum(SIZES), 1, 1, base.training.seed, drop_last=True)
    transform = library_transform(base.augment, base.training.seed)
    dataset = DetectionDataset(data.records, base.data.train_difficult, transform=transform)
    steps = [order.micro_batches(step, rank=0)[0] for step in range(NUM_STEPS)]

    def batches(sizes: tuple[int, ...]) -> list[list[Batch]]:
        return [micro_batches(dataset, indices, sizes, base, dtype) for indices in steps]

    whole, split = batches((sum(SIZES),)), batches(SIZES)
    num_classes = len(data.classes) + 1
    distances: dict[Divisor, float] = {}
    with Progress("comparing split steps", len(DIVISORS), "divisor") as progress:
        for divisor in DIVISORS:
            distances[divisor] = distance(
                weights_after(split, divisor, num_classes, base, dtype),
                weights_after(whole, divisor, num_classes, base, dtype),
            )
            progress.advance()
    return distances


def micro_batches(
    dataset: DetectionDataset,
    indices: list[int],
    sizes: tuple[int, ...],
    base: Config,
    dtype: torch.dtype,
) -> list[Batch]:
    """The images of a step, as micro-batches of these sizes."""
    preprocess = preprocess_of(base.model, base.augment)
    left = iter([dataset[Request(0, index)] for index in indices])
    packs = [pack(list(islice(left, size))) for size in sizes]
    batches = [preprocess.training_batch(p, base.training.seed, base.augment) for p in packs]
    return [replace(batch, images=batch.images.to(dtype)) for batch in batches]


def weights_after(
    steps: list[list[Batch]], divisor: Divisor, num_classes: int, base: Config, dtype: torch.dtype
) -> Tensor:
    """All weights, as one vector, after training on these steps."""
    seed_everything(base.training.seed, deterministic=False)
    model = build_model(base.model, num_classes)
    default_boxes = model.default_boxes
    model.to(dtype)
    hold_statistics(model)
    images = fmean(len(batch.images) for batch in steps[0])
    optimizer = same_way(base.optimizer, gradient_factor(divisor, images))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state = TrainState(model, build_optimizer(model, optimizer), scaler)
    rates = learning_rates(optimizer, max(10 * optimizer.warmup_steps, NUM_STEPS))
    settings = StepSettings(default_boxes, rates, replace(base.loss, divisor=divisor))
    for batches in steps:
        train_step(state, batches, settings)
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def hold_statistics(model: SSD) -> None:
    """Makes BatchNorm normalise by the statistics it has, without updating them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def distance(reached: Tensor, goal: Tensor) -> float:
    """The distance of `reached` from `goal`, relative to the norm of `goal`."""
    return float((reached - goal).norm() / goal.norm())
