"""Builds the parts of a run from its config: data, feed, model and optimizer."""

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
    """The parts of a run.

    Attributes:
        train_data: the images to train on.
        eval_data: the images to evaluate on, with the same classes.
        objects_per_class: number of objects to train on, by class name.
        order: the images that each step trains on.
        feed: makes the batches in that order.
        starts_from: the initial weights, in a few words; empty for random or restored ones.
        optimizer_config: the section of the config, with the learning rate for this run's steps.
        state: everything that a step changes: model, optimizer, average, counts.
        settings: the settings of every step.
        detector: the model for detection, with averaged weights if they are kept.
        device: the device that the run computes on.
        last_step: number of steps in the run.
    """

    train_data: DataSet
    eval_data: DataSet
    objects_per_class: dict[str, int]
    order: Order
    feed: Feed
    starts_from: str
    optimizer_config: OptimizerConfig
    state: TrainState
    settings: StepSettings
    detector: Detector
    device: torch.device
    last_step: int


def build(config: Config, checkpoint: Checkpoint | None) -> Parts:
    """Builds all parts of a run; every rank has to call it.

    Args:
        config: the whole run.
        checkpoint: the checkpoint to resume from, or None for a new run.

    Raises:
        UserError: data, weights or checkpoint do not fit the config, or each other.
    """
    training = config.training
    device = choose_device(training.device)
    dtype = autocast_dtype(training.precision, device)
    # Each rank draws its own random numbers. The initial weights still agree, since
    # DistributedDataParallel copies those of the first rank.
    seed_everything(training.seed + rank(), training.deterministic)

    with first_rank_first():  # it may have to generate the `shapes` data set
        train_data = load_data(config.data, config.data.train_split, config.data.classes)
    eval_data = load_data(config.data, config.data.eval_split, train_data.classes)
    order = build_order(training, len(train_data.records))
    last_step = training.steps or training.epochs * order.steps_per_epoch
    steps = range(checkpoint.manifest.step if checkpoint else 0, last_step)
    feed = build_feed(config, train_data, order, steps, device)
    classes = train_data.classes
    model = build_model(config.model, len(classes) + 1)
    starts_from = "" if checkpoint else load_initial(model, config.model, classes)
    place(model, training, device)
    largest = order.images_of_largest_step
    settings = StepSettings(model.default_boxes, config.loss, training.clip_norm, dtype, largest)
    optimizer = scaled_learning_rate(config.optimizer, order.images_per_step)
    state = build_state(model, optimizer, training.ema_decay, dtype)
    if checkpoint is not None:
        restore(checkpoint, state, order, list(classes), device)

    for_detection = model if state.average is None else state.average.model
    return Parts(
        train_data=train_data,
        eval_data=eval_data,
        objects_per_class=objects_per_class(train_data, config.data.classes),
        order=order,
        feed=feed,
        starts_from=starts_from,
        optimizer_config=optimizer,
        state=state,
        settings=settings,
        detector=Detector(for_detection, feed.preprocess, classes, dtype, config.evaluation),
        device=device,
        last_step=last_step,
    )


def build_feed(
    config: Config, data: DataSet, order: Order, steps: range, device: torch.device
) -> Feed:
    """Builds what makes the batches of these steps."""
    first_epoch, last_epoch = (order.position(step)[0] for step in (steps.start, steps.stop - 1))
    return Feed(
        data.records,
        config.data,
        config.augment,
        preprocess_of(config.model, config.augment),
        config.training.seed,
        device,
        repeats=last_epoch > first_epoch,
    )


def place(model: SSD, training: TrainingConfig, device: torch.device) -> None:
    """Moves the model to the device, with BatchNorm over all ranks if the config asks for it."""
    if training.sync_batchnorm:
        synchronise_batchnorm(model, device)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def build_order(training: TrainingConfig, num_images: int) -> Order:
    """Builds the order in which the steps of all ranks take the training images."""
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
    """Builds the state that the steps change, as it is at the start of a run.

    Args:
        model: on its device.
        optimizer: the section of the config.
        ema_decay: decay of the moving average of the weights; None for no average.
        dtype: of autocast; only fp16 needs loss scaling.
    """
    device = model.default_boxes.device
    # First of all, since it gives every rank the first one's weights, which the average copies.
    trained = model if world_size() == 1 else nn.parallel.DistributedDataParallel(model)
    return TrainState(
        trained,
        build_optimizer(model, optimizer),
        torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        None if ema_decay is None else MovingAverage(model, ema_decay),
    )
