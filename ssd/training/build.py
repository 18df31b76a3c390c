"""From a config to the parts of a run: data, model, optimizer and what feeds them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ssd.augment.batch import preprocess_of
from ssd.config import Config, OptimizerConfig, TrainingConfig
from ssd.data.order import Order
from ssd.data.source import load_data, objects_per_class
from ssd.detect.detector import Detector
from ssd.model.device import autocast_dtype, choose_device
from ssd.model.ssd import SSD, build_model
from ssd.run.checkpoint import Checkpoint
from ssd.structures import DataSet
from ssd.training.average import MovingAverage
from ssd.training.feed import Feed
from ssd.training.initial import load_initial
from ssd.training.optimizer import build_optimizer, scaled_learning_rate
from ssd.training.ranks import first_rank_first, rank, synchronise_batchnorm, world_size
from ssd.training.reproducible import seed_everything
from ssd.training.resume import restore
from ssd.training.step import StepSettings, TrainState


@dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
        train_data: the images to train on.
        eval_data: those to evaluate on, with the same classes.
        objects_per_class: what there is to train on, by name.
        order: which images each step trains on.
        feed: what makes the batches of that order.
        starts_from: the initial weights, in a few words; empty for random or restored ones.
        optimizer: the section of the config, with the learning rate for this run's steps.
        state: what a step changes: model, optimizer, average, counts.
        settings: what a step is told and does not change.
        detector: the model as it detects, with averaged weights where they are kept.
        device: where the run computes.
        last_step: how many steps the run has.
    """

    train_data: DataSet
    eval_data: DataSet
    objects_per_class: dict[str, int]
    order: Order
    feed: Feed
    starts_from: str
    optimizer: OptimizerConfig
    state: TrainState
    settings: StepSettings
    detector: Detector
    device: torch.device
    last_step: int


def build(config: Config, checkpoint: Checkpoint | None) -> Parts:
    """All parts of a run; every rank has to call it.

    Args:
        config: the whole run.
        checkpoint: where to go on, or None to start.

    Raises:
        UserError: data, weights or checkpoint do not fit the config, or each other.
    """
    training = config.training
    device = choose_device(training.device)
    dtype = autocast_dtype(training.precision, device)
    # Ranks draw apart from each other. Their weights are the first one's all the same, by
    # DistributedDataParallel.
    seed_everything(training.seed + rank(), training.deterministic)

    with first_rank_first():  # it may have to draw the data
        train_data = load_data(config.data, config.data.train_split, config.data.classes)
    classes = train_data.classes
    eval_data = load_data(config.data, config.data.eval_split, classes)
    order = build_order(training, len(train_data.records))
    objects = objects_per_class(train_data, config.data.classes)
    preprocess = preprocess_of(config.model, config.augment)
    feed = Feed(train_data.records, config.data, config.augment, preprocess, training.seed, device)

    model = build_model(config.model, len(classes) + 1)
    starts_from = "" if checkpoint else load_initial(model, config.model, classes)
    if training.sync_batchnorm:
        synchronise_batchnorm(model, device)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = scaled_learning_rate(config.optimizer, order.images_per_step)
    state = build_state(model, optimizer, training.ema_decay, dtype)
    if checkpoint is not None:
        restore(checkpoint, state, order, list(classes), device)

    detecting = model if state.average is None else state.average.model
    return Parts(
        train_data=train_data,
        eval_data=eval_data,
        objects_per_class=objects,
        order=order,
        feed=feed,
        starts_from=starts_from,
        optimizer=optimizer,
        state=state,
        settings=StepSettings(model.default_boxes, config.loss, training.clip_norm, dtype),
        detector=Detector(detecting, preprocess, classes, dtype, config.evaluation),
        device=device,
        last_step=training.steps or training.epochs * order.steps_per_epoch,
    )


def build_order(training: TrainingConfig, num_images: int) -> Order:
    """Which images each step trains on, over all ranks."""
    return Order(
        num_images,
        training.batch_size,
        training.accumulate,
        world_size(),
        seed=training.seed,
        drop_last=training.drop_last,
    )


def build_state(
    model: SSD, optimizer: OptimizerConfig, ema_decay: float | None, dtype: torch.dtype | None
) -> TrainState:
    """Everything that a step changes, at the start of a run.

    Args:
        model: on its device.
        optimizer: the section of the config.
        ema_decay: of the moving average of the weights; None for no average.
        dtype: of autocast; fp16 alone needs its loss scaled.
    """
    device = model.default_boxes.device
    return TrainState(
        model if world_size() == 1 else nn.parallel.DistributedDataParallel(model),
        build_optimizer(model, optimizer),
        torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        None if ema_decay is None else MovingAverage(model, ema_decay),
    )
