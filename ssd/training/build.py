"""Builds the parts of a run from its config: data, feed, model and optimizer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from ssd.augment.batch import finds_compiler, preprocess_of
from ssd.common.errors import UserError
from ssd.common.sides import both
from ssd.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainingConfig
from ssd.config.data import SHARE
from ssd.data.learnable import (
    nothing_to_evaluate,
    nothing_to_learn,
    objects_per_class,
    refuse,
)
from ssd.data.order import Order
from ssd.data.source import load_data, load_parts
from ssd.detect.detector import Detector
from ssd.loss.rare import class_weights
from ssd.model.device import autocast_dtype, choose_device
from ssd.model.ssd import SSD, build_model
from ssd.run.checkpoint import Checkpoint
from ssd.structures import DataSet
from ssd.training.average import MovingAverage
from ssd.training.changes import refuse_another_run
from ssd.training.choices import choose
from ssd.training.compiled import compile_step
from ssd.training.feed import Feed
from ssd.training.initial import load_initial
from ssd.training.length import Length, closing_epoch, length_of
from ssd.training.optimizer import build_optimizer, learning_rates, scaled_learning_rate
from ssd.training.ranks import made_by_first_rank, rank, synchronise_batchnorm, world_size
from ssd.training.reproducible import seed_everything
from ssd.training.resume import restore
from ssd.training.step import StepSettings, TrainState

BACKGROUND = 0.99  # probability that the focal loss starts from


@dataclass(frozen=True)
class Parts:
    """The parts of a run.

    Attributes:
        train_data: the images to train on.
        eval_data: the images to evaluate on, with the same classes; None for no evaluation.
        objects_per_class: number of objects to train on, by class name.
        order: the images that each step trains on.
        feed: makes the batches in that order.
        model_config: the section of the config, with the default boxes of this run.
        starts_from: the initial weights, in a few words; empty for random or restored ones.
        boxes_from: the origin of fitted default boxes, in a few words; or empty.
        optimizer_config: the section of the config, with the learning rate for this run's steps.
        state: everything that a step changes: model, optimizer, average, counts.
        settings: the settings of every step.
        detector: the model for detection, with averaged weights if they are kept.
        device: the device that the run computes on.
        graphs: whether steps run as CUDA graphs.
        length: of the run.
    """

    train_data: DataSet
    eval_data: DataSet | None
    objects_per_class: dict[str, int]
    order: Order
    feed: Feed
    model_config: ModelConfig
    starts_from: str
    boxes_from: str
    optimizer_config: OptimizerConfig
    state: TrainState
    settings: StepSettings
    detector: Detector
    device: torch.device
    graphs: bool
    length: Length


def build(
    config: Config,
    checkpoint: Checkpoint | None,
    division: Path | None = None,
    headers: Path | None = None,
) -> Parts:
    """Builds all parts of a run; every rank has to call it.

    Args:
        config: the whole run, its data as `locate` returns it.
        checkpoint: the checkpoint to resume from, or None for a new run.
        division: see `load_data`.
        headers: see `load_data`.

    Raises:
        UserError: data, weights or checkpoint do not fit the config, or each other.
    """
    training, device = config.training, choose_device(config.training.device)
    # Each rank draws its own random numbers. The initial weights still agree, since
    # DistributedDataParallel copies those of the first rank.
    seed_everything(training.seed + rank(), training.deterministic)
    train_data, eval_data = made_by_first_rank(lambda: load_splits(config.data, division, headers))
    order = build_order(training, len(train_data.records))
    length = length_of(training, config.evaluation, order.steps_per_epoch)
    last_step = length.last_step
    if checkpoint is not None:
        known = checkpoint, config, train_data, order, last_step, division
        made_by_first_rank(partial(refuse_another_run, *known))
    steps = range(checkpoint.manifest.step if checkpoint else 0, last_step)
    graphs = uses_graphs(training, device)
    feed = build_feed(config, train_data, order, steps, device, graphs)
    classes = train_data.classes
    boxes_from = random_because = ""
    if checkpoint is None:
        config, boxes_from, random_because = choose(config, train_data)
    optimizer = scaled_learning_rate(config.optimizer, order.images_per_step)
    config = replace(config, optimizer=optimizer)
    state, settings, model, starts_from = build_steps(
        config, train_data, order, last_step, checkpoint, device
    )
    return Parts(
        train_data=train_data,
        eval_data=eval_data,
        objects_per_class=objects_per_class(train_data, config.data.train_difficult),
        order=order,
        feed=feed,
        model_config=config.model,
        starts_from=random_because or starts_from,
        boxes_from=boxes_from,
        optimizer_config=optimizer,
        state=state,
        settings=settings,
        detector=Detector(
            model, feed.preprocess, classes, settings.dtype, config.evaluation, graphs
        ),
        device=device,
        graphs=graphs,
        length=length,
    )


def load_splits(
    config: DataConfig, division: Path | None, headers: Path | None
) -> tuple[DataSet, DataSet | None]:
    """Reads the images to train on, and those to evaluate on with the same classes, if any."""
    eval_data = None
    if config.eval_split == SHARE:
        train_data, eval_data = load_parts(config, division, headers)
    else:
        train_data = load_data(config, config.train_split, config.classes, headers=headers)
    refuse(nothing_to_learn(train_data, config))
    if eval_data is None and config.eval_split is not None:
        eval_data = load_data(config, config.eval_split, train_data.classes, headers=headers)
    if eval_data is not None:
        refuse(nothing_to_evaluate(eval_data, config))
    return train_data, eval_data


def uses_graphs(training: TrainingConfig, device: torch.device) -> bool:
    """Returns whether steps run as CUDA graphs; several ranks launch theirs one by one."""
    return training.graph == "auto" and device.type == "cuda" and world_size() == 1


def compiles(training: TrainingConfig, device: torch.device) -> bool:
    """Returns whether the steps are to be compiled, and this machine can do it."""
    wanted = training.compile == "auto" and not training.deterministic
    return wanted and device.type == "cuda" and world_size() == 1 and finds_compiler()


def build_feed(
    config: Config,
    data: DataSet,
    order: Order,
    steps: range,
    device: torch.device,
    graphs: bool,
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
        graphs=graphs and finds_compiler(),  # without one, `pixels.py` reads the plan on the host
        repeats=last_epoch > first_epoch,
        closing_epoch=closing_epoch(
            config.augment.closing_share, steps.stop, order.steps_per_epoch
        ),
    )


def place(model: SSD, training: TrainingConfig, device: torch.device) -> None:
    """Moves the model to the device, with BatchNorm over all ranks if the config asks for it."""
    if training.sync_batchnorm:
        synchronise_batchnorm(model, device)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def build_steps(
    config: Config,
    data: DataSet,
    order: Order,
    last_step: int,
    checkpoint: Checkpoint | None,
    device: torch.device,
) -> tuple[TrainState, StepSettings, SSD, str]:
    """Builds the arguments of every step; also the model to detect with, and `Parts.starts_from`.

    Args:
        config: the whole run, its learning rate scaled to the images of a step.
        data: the images to train on.
        order: of the images.
        last_step: number of steps in the run.
        checkpoint: restored if there is one.
        device: the device that the run computes on.
    """
    training = config.training
    dtype = autocast_dtype(training.precision, device)
    if config.model.freeze == "backbone" and config.model.weights == "none":
        raise UserError(
            "model.freeze is backbone, but model.weights is none, so that its random weights would "
            "stay: give model.weights, or leave model.freeze out"
        )
    model = build_model(config.model, len(data.classes) + 1)
    if config.loss.classes == "focal":
        model.head.expect_background(BACKGROUND)  # before weights that bring a head of their own
    starts_from = ""
    if checkpoint is None:  # the other ranks get the first one's weights below
        load = partial(load_initial, model, config.model, data.classes)
        starts_from = made_by_first_rank(load)
    place(model, training, device)
    state = build_state(model, config.optimizer, training.ema_decay, dtype)
    settings = StepSettings(
        model.default_boxes,
        learning_rates(config.optimizer, last_step).to(device),
        config.loss,
        training.clip_norm,
        dtype,
        order.images_of_largest_step,
        class_weights(data, config.data.train_difficult, config.loss.rare_share, device),
    )
    if checkpoint is not None:
        restore(checkpoint, state, device)
    if compiles(training, device):
        shape = torch.Size((training.batch_size, 3, *both(config.model.input_size)))
        compile_step(state, settings, shape, lambda line: print(line, flush=True))
    return state, settings, model if state.average is None else state.average.model, starts_from


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
