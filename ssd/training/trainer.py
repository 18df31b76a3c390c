"""A run: what it is built from, its loop, and what it saves.

The loop is `Trainer.run`; one step of it is `ssd.training.step.train_step`.
"""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import torch
from torch import nn

from ssd.augment.batch import preprocess_of
from ssd.config import Config
from ssd.data.order import Order
from ssd.data.source import load_data, objects_per_class
from ssd.errors import UserError
from ssd.evaluation.evaluate import Detector, measure
from ssd.evaluation.results import result_table
from ssd.model.ssd import SSD, build_model
from ssd.report.pictures import draw, fit
from ssd.results import EVALUATION_FILE, pictures, write_results
from ssd.settings import to_yaml
from ssd.structures import Batch
from ssd.training.checkpoint import Checkpoint
from ssd.training.device import autocast_dtype, choose_device
from ssd.training.distributed import (
    any_rank,
    first_rank_first,
    from_all_ranks,
    from_first_rank,
    is_first,
    rank,
    synchronise_batchnorm,
    world_size,
)
from ssd.training.ema import MovingAverage
from ssd.training.feed import Feed
from ssd.training.initial import load_initial
from ssd.training.metrics import METRICS_FILE, Log, MetricsLog, Position, SilentLog
from ssd.training.optim import build_optimizer, learning_rate, scaled_learning_rate
from ssd.training.preempt import STOPPED_BY_SIGNAL, Signals, Stopped
from ssd.training.quarantine import Quarantine
from ssd.training.reproducible import seed_everything
from ssd.training.resume import restore, snapshot
from ssd.training.rows import has_evaluation
from ssd.training.saving import DiskSaver, IdleSaver, Saver
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
        seed_everything(training.seed + rank(), training.deterministic)  # weights are the first's

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
        self.optimizer = scaled_learning_rate(config.optimizer, self.order.images_per_step)
        self.objects_per_class = objects_per_class(self.train_data, config.data.classes)
        self.last_step = training.steps or training.epochs * self.order.steps_per_epoch

        self.feed = Feed(self.train_data.records, config, self.device)
        self.preprocess = preprocess_of(config.model, config.augment)
        self.starts_from = ""
        self.model = self.build_model(from_scratch=checkpoint is None)
        self.state = self.build_state()
        self.settings = StepSettings(
            self.model.default_boxes, config.loss, training.clip_norm, self.dtype
        )
        if checkpoint is not None:
            restore(checkpoint, self.state, self.order, list(self.classes), self.device)

    def build_model(self, from_scratch: bool) -> SSD:
        """The model on its device, with its initial weights unless they are restored."""
        model = build_model(self.config.model, len(self.classes) + 1)
        if from_scratch:
            self.starts_from = load_initial(model, self.config.model, self.classes)
        if self.config.training.sync_batchnorm:
            synchronise_batchnorm(model, self.device)
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def build_state(self) -> TrainState:
        """Everything that a step changes, at the start of a run."""
        decay = self.config.training.ema_decay
        ranks = world_size()
        return TrainState(
            self.model if ranks == 1 else nn.parallel.DistributedDataParallel(self.model),
            build_optimizer(self.model, self.optimizer),
            torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16),
            None if decay is None else MovingAverage(self.model, decay),
        )

    def run(self, asked: Signals) -> int:
        """Trains to the last step, or until a signal; returns the exit status."""
        evaluate_first = self.evaluation_is_missing()
        log = self.open_log(keep_evaluation=not evaluate_first)
        steps = self.feed.steps(self.order, self.preprocess, self.state.step, self.last_step)
        saver = self.open_saver(log)
        with closing(log), closing(steps), closing(saver):
            if evaluate_first:
                self.evaluate(log, saver, asked)
            stops = any_rank(asked.stop)[0]
            while self.state.step < self.last_step and not stops:
                batches, problems, data_wait = next(steps)
                lr = learning_rate(self.optimizer, self.state.updates, self.last_step)
                figures = train_step(self.state, batches, self.settings, lr)

                log.step(self.position(), figures, data_wait)
                self.watch_data(log, problems)
                self.watch_numbers(log, figures, batches)
                stops, saves = any_rank(asked.stop, asked.save)
                if stops or saves or self.evaluation_is_due() or self.checkpoint_is_due():
                    asked.save = False
                    log.sync()
                    saver.save(self.state.step, snapshot(self.state, self.order, self.device))
                if self.evaluation_is_due() and not stops:
                    self.evaluate(log, saver, asked)
                    stops = any_rank(asked.stop)[0]
            saver.finish()
            if stops:
                log.say(f"stopped after step {self.state.step}, which is saved")
            return STOPPED_BY_SIGNAL if stops else DONE

    def open_log(self, keep_evaluation: bool) -> Log:
        """The log of this rank: the first one writes it."""
        training = self.config.training
        if not is_first():
            return SilentLog(training.log_every)
        span = self.state.step, self.last_step, keep_evaluation
        return MetricsLog(self.run_dir, *span, training, self.config.loss)

    def open_saver(self, log: Log) -> Saver:
        """What saves the checkpoints of this rank: the first one writes them."""
        if not is_first():
            return IdleSaver()
        folder, config = self.run_dir / "checkpoints", self.config
        return DiskSaver(folder, config.checkpoint, to_yaml(config), list(self.classes), log.say)

    def position(self) -> Position:
        """Where the step just taken stands in the run."""
        epoch, step_in_epoch = self.order.position(self.state.step - 1)
        return Position(self.state.step, epoch, step_in_epoch, self.order.steps_per_epoch)

    def evaluation_is_missing(self) -> bool:
        """Whether the run ended in the evaluation of the step at which it goes on."""
        step, metrics = self.state.step, self.run_dir / METRICS_FILE
        if step == 0 or not self.evaluation_is_due():
            return False
        unfinished = metrics.exists() and not has_evaluation(metrics, step)
        return from_first_rank(step == self.last_step or unfinished)

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

    def watch_data(self, log: Log, problems: list[str]) -> None:
        """Tells of images that could not be read; too many of them stop the run."""
        for problem in self.quarantine.take(problems):
            log.say(f"unreadable, another image stands in: {problem}")

    def watch_numbers(self, log: Log, figures: StepFigures, batches: list[Batch]) -> None:
        """Tells of a step without a finite gradient; many in a row stop the run."""
        if not figures.skipped:
            return
        own = figures.sums.tolist(), [image for batch in batches for image in batch.image_ids]
        ranks = from_all_ranks(own)
        class_sum, box_sum, positives = (sum(sums[part] for sums, _ in ranks) for part in range(3))
        images = ", ".join(image for _, images in ranks for image in images)
        log.say(
            f"step {self.state.step} skipped, its gradient is not finite: class loss "
            f"{class_sum:g}, box loss {box_sum:g}, positives {positives:g}, images {images}"
        )
        if self.state.skipped_in_row >= self.config.training.max_skipped:
            raise UserError(
                f"{self.state.skipped_in_row} steps in a row had a gradient that is not finite, "
                f"the last at step {self.state.step}; the weights never saw them: lower "
                "optimizer.lr, set training.clip_norm or training.precision fp32, or look for "
                "broken boxes in the data"
            )

    def evaluate(self, log: Log, saver: Saver, asked: Signals) -> None:
        """Evaluates the model as it is now; after the last step its results are written.

        A signal to stop ends it. The run that goes on then evaluates first.

        Raises:
            UserError: an image cannot be read.
        """
        records, workers = self.eval_data.records, self.config.data.workers
        table = detect_on_all_ranks(self.detector, records, workers, asked)
        if table is None or not is_first():
            return
        config, step = self.config.evaluation, self.state.step
        with suppress(Stopped), asked.interrupting():
            result = measure(self.eval_data, table, config)
            saver.record_score(step, result.mAP)
            for picture in pictures(self.eval_data, table, TENSORBOARD_PICTURES):
                pixels = draw(fit(picture, TENSORBOARD_PIXELS))
                log.picture(f"predictions/{picture.name}", pixels, step)
            if step >= self.last_step:
                (self.run_dir / EVALUATION_FILE).unlink(missing_ok=True)  # of a run with less steps
            log.evaluation(self.position(), config.metric, result)
            if step >= self.last_step:
                page = write_results(self.run_dir, self.eval_data, table, result, config)
                log.say(f"\n{result_table(result)}\n\nreport: {page}")

    @property
    def detector(self) -> Detector:
        """The model as it detects now: with averaged weights where they are kept."""
        average = self.state.average
        model = self.model if average is None else average.model
        return Detector(model, self.preprocess, self.classes, self.dtype, self.config.evaluation)
