"""A run: what it is built from, its loop, and what it saves.

The loop is `Trainer.run`; one step of it is `ssd.training.step.train_step`.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssd.augment.batch import preprocess_of
from ssd.config import Config
from ssd.data.dataset import DetectionDataset
from ssd.data.loader import training_steps
from ssd.data.order import Order
from ssd.data.source import load_data, objects_per_class
from ssd.errors import UserError, one_line
from ssd.evaluation.evaluate import Detector, measure
from ssd.evaluation.results import result_table
from ssd.model.ssd import SSD, build_model
from ssd.report.pictures import draw, fit
from ssd.results import pictures, write_results
from ssd.settings import to_yaml
from ssd.structures import Batch, PackedSamples, to_device
from ssd.training.checkpoint import Checkpoint, prune, record_score, save_checkpoint
from ssd.training.device import autocast_dtype, choose_device
from ssd.training.distributed import any_rank, first_rank_first, is_first, rank, world_size
from ssd.training.ema import MovingAverage
from ssd.training.initial import load_initial
from ssd.training.metrics import Log, MetricsLog, Position, SilentLog
from ssd.training.optim import build_optimizer, learning_rate, restore_optimizer
from ssd.training.preempt import STOPPED_BY_SIGNAL, StopSignal
from ssd.training.quarantine import Quarantine
from ssd.training.reproducible import random_state, restore_random_state, seed_everything
from ssd.training.share import detect_on_all_ranks
from ssd.training.step import StepFigures, StepSettings, TrainState, train_step

DONE = 0
TENSORBOARD_PICTURES = 4
TENSORBOARD_PIXELS = 480


class Trainer:
    """Trains a model on the data that a config names.

    Args:
        config: the whole run.
        run_dir: where everything goes.
        checkpoint: where to go on, or None to start.

    Raises:
        UserError: data, weights or checkpoint do not fit the config, or each other.
    """

    def __init__(self, config: Config, run_dir: Path, checkpoint: Checkpoint | None) -> None:
        self.config, self.run_dir = config, run_dir
        training = config.training
        self.device = choose_device(training.device)
        self.dtype = autocast_dtype(training.precision, self.device)
        seed_everything(training.seed, training.deterministic)

        with first_rank_first():  # it may have to draw the data
            self.train_data = load_data(config.data, config.data.train_split, config.data.classes)
        self.classes = self.train_data.classes
        self.eval_data = load_data(config.data, config.data.eval_split, self.classes)
        num_images = len(self.train_data.records)
        self.quarantine = Quarantine(run_dir, num_images, config.data.max_unreadable)
        self.order = Order(
            num_images,
            training.batch_size,
            training.accumulate,
            world_size(),
            seed=training.seed,
            drop_last=training.drop_last,
        )
        self.objects_per_class = objects_per_class(self.train_data, config.data.classes)
        self.last_step = training.steps or training.epochs * self.order.steps_per_epoch

        self.preprocess = preprocess_of(config.model, config.augment)
        self.starts_from = ""
        self.model = self.build_model(from_scratch=checkpoint is None)
        self.state = self.build_state()
        self.settings = StepSettings(
            self.model.default_boxes, config.loss, training.clip_norm, self.dtype
        )
        if checkpoint is not None:
            self.restore(checkpoint)

    def build_model(self, from_scratch: bool) -> SSD:
        """The model on its device, with its initial weights unless they are restored."""
        model = build_model(self.config.model, len(self.classes) + 1)
        if from_scratch:
            self.starts_from = load_initial(model, self.config.model, self.classes)
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def build_state(self) -> TrainState:
        """Everything that a step changes, at the start of a run."""
        decay = self.config.training.ema_decay
        ranks = world_size()
        return TrainState(
            self.model if ranks == 1 else nn.parallel.DistributedDataParallel(self.model),
            build_optimizer(self.model, self.config.optimizer),
            torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16),
            None if decay is None else MovingAverage(self.model, decay),
        )

    def run(self) -> int:
        """Trains to the last step, or until a signal; returns the exit status."""
        log, steps = self.open_log(), self.fetch_steps()
        with StopSignal() as stop, closing(log), closing(steps):
            if self.state.step >= self.last_step:  # it was killed in its last evaluation
                self.evaluate(log)
            for step in range(self.state.step, self.last_step):
                started = time.perf_counter()
                samples = next(steps)
                data_wait = time.perf_counter() - started

                batches = [self.augmented(packed) for packed in samples]
                lr = learning_rate(self.config.optimizer, self.state.updates, self.last_step)
                figures = train_step(self.state, batches, self.settings, lr)

                log.step(self.position(step), figures, data_wait)
                self.watch_data(log, samples)
                self.watch_numbers(log, figures, batches)
                evaluates, stops = self.evaluation_is_due(), any_rank(stop.requested)
                if evaluates or stops or self.checkpoint_is_due():
                    log.flush()
                    saved = self.save()
                if stops:
                    log.say(f"stopped after step {self.state.step}, which is saved")
                    break
                if evaluates and (score := self.evaluate(log)) is not None:
                    record_score(saved, score)
            return STOPPED_BY_SIGNAL if any_rank(stop.requested) else DONE

    def open_log(self) -> Log:
        """The log of this rank: the first one writes it."""
        training = self.config.training
        if not is_first():
            return SilentLog(training.log_every)
        return MetricsLog(self.run_dir, self.state.step, self.last_step, training, self.config.loss)

    def fetch_steps(self) -> Generator[list[PackedSamples], None, None]:
        """The packed images of every step that is left, read ahead by workers."""
        dataset = DetectionDataset(self.train_data.records, self.config.data.train_difficult)
        workers, on_gpu = self.config.data.workers, self.device.type == "cuda"
        return training_steps(
            dataset, self.order, self.state.step, self.last_step, rank(), workers, pin_memory=on_gpu
        )

    def augmented(self, samples: PackedSamples) -> Batch:
        """The batch that the model trains on, made on its device."""
        on_device = to_device(samples, self.device)
        seed = self.config.training.seed
        return self.preprocess.training_batch(on_device, seed, self.config.augment)

    def position(self, step: int) -> Position:
        """Where a step, counted from 0, stands in the run."""
        epoch, step_in_epoch = self.order.position(step)
        return Position(step + 1, epoch, step_in_epoch, self.order.steps_per_epoch)

    def evaluation_is_due(self) -> bool:
        """Whether the step just taken is the last one, or ends an epoch that is evaluated."""
        every = self.config.evaluation.every_epochs
        epochs, rest = divmod(self.state.step, self.order.steps_per_epoch)
        return self.state.step == self.last_step or (
            rest == 0 and every > 0 and epochs % every == 0
        )

    def checkpoint_is_due(self) -> bool:
        """Whether the step just taken is to be saved, by `checkpoint.every_steps`."""
        every = self.config.checkpoint.every_steps or self.order.steps_per_epoch
        return self.state.step % every == 0

    def watch_data(self, log: Log, samples: list[PackedSamples]) -> None:
        """Tells of images that could not be read; too many of them stop the run."""
        for problem in self.quarantine.take(p for packed in samples for p in packed.problems):
            log.say(f"unreadable, another image stands in: {problem}")

    def watch_numbers(self, log: Log, figures: StepFigures, batches: list[Batch]) -> None:
        """Tells of a step without a finite gradient; many in a row stop the run."""
        if not figures.skipped:
            return
        class_sum, box_sum, num_positives, *_ = figures.sums.tolist()
        images = ", ".join(image_id for batch in batches for image_id in batch.image_ids)
        log.say(
            f"step {self.state.step} skipped, its gradient is not finite: class loss "
            f"{class_sum:g}, box loss {box_sum:g}, positives {num_positives:g}, images {images}"
        )
        if self.state.skipped_in_row >= self.config.training.max_skipped:
            raise UserError(
                f"{self.state.skipped_in_row} steps in a row had a gradient that is not finite, "
                f"the last at step {self.state.step}; the weights never saw them: lower "
                "optimizer.lr, set training.clip_norm or training.precision fp32, or look for "
                "broken boxes in the data"
            )

    def evaluate(self, log: Log) -> float | None:
        """Evaluates the model as it is now; after the last step its results are written.

        Returns:
            The mAP; None on all ranks but the first.

        Raises:
            UserError: an image cannot be read.
        """
        config, step = self.config.evaluation, self.state.step
        workers = self.config.data.workers
        table = detect_on_all_ranks(self.detector, self.eval_data.records, workers)
        if not is_first():
            return None
        result = measure(self.eval_data, table, config)
        log.evaluation(self.position(step - 1), config.metric, result)
        for picture in pictures(self.eval_data, table, TENSORBOARD_PICTURES):
            pixels = draw(fit(picture, TENSORBOARD_PIXELS))
            log.picture(f"predictions/{picture.name}", pixels, step)
        if step >= self.last_step:
            page = write_results(self.run_dir, self.eval_data, table, result, config)
            log.say(f"\n{result_table(result)}\n\nreport: {page}")
        return result.mAP

    @property
    def detector(self) -> Detector:
        """The model as it detects now: with averaged weights where they are kept."""
        average = self.state.average
        model = self.model if average is None else average.model
        return Detector(model, self.preprocess, self.classes, self.dtype, self.config.evaluation)

    def save(self) -> Path:
        """The first rank saves a checkpoint and removes those not kept; returns its path."""
        folder = self.run_dir / "checkpoints"
        if is_first():
            config_yaml, classes = to_yaml(self.config), list(self.classes)
            save_checkpoint(folder, self.state.step, self.state_dict(), config_yaml, classes)
            prune(folder, self.config.checkpoint.keep)
        return folder / f"step_{self.state.step}"

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on as if nothing had happened."""
        state = self.state
        return {
            "model": self.model.state_dict(),
            "average": None if state.average is None else state.average.model.state_dict(),
            "optimizer_name": self.config.optimizer.name,
            "optimizer": state.optimizer.state_dict(),
            "scaler": state.scaler.state_dict(),
            "random": random_state(self.device),
            "step": state.step,
            "updates": state.updates,
            "skipped_in_row": state.skipped_in_row,
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Puts everything back to where a checkpoint was saved.

        Raises:
            UserError: the checkpoint belongs to other classes or another model.
        """
        saved, here = checkpoint.manifest.classes, list(self.classes)
        if saved != here:
            raise UserError(
                f"{checkpoint.path} was trained on the classes {saved}, the data has {here}: "
                "give the same data.classes, or start anew with another --out"
            )
        state, content = self.state, checkpoint.state
        name = self.config.optimizer.name
        if content["optimizer_name"] != name:
            raise UserError(
                f"{checkpoint.path} was trained with {content['optimizer_name']}, the config has "
                f"{name}: give the same optimizer.name, or start anew with another --out"
            )
        try:
            self.model.load_state_dict(content["model"])
            if state.average is not None:
                state.average.model.load_state_dict(content["average"] or content["model"])
            restore_optimizer(state.optimizer, content["optimizer"])
            state.scaler.load_state_dict(content["scaler"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(
                f"{checkpoint.path} does not fit the model and optimizer of this config: "
                f"{one_line(error)[:300]}"
            ) from error
        restore_random_state(content["random"], self.device)
        state.step, state.updates = content["step"], content["updates"]
        state.skipped_in_row = content["skipped_in_row"]
