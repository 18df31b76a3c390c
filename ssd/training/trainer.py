"""The training loop: step, log, save, evaluate.

`ssd.training.step.train_step` takes a single step; `ssd.training.build.build` makes what it needs.
"""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from pathlib import Path

from ssd.common.graph import Graphs
from ssd.config import Config
from ssd.config.settings import to_yaml
from ssd.data.left_out import SHOWN
from ssd.detect.evaluate import publish, spikes_of_run
from ssd.detect.shown import pictures
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.measure import measure
from ssd.evaluation.result import result_table
from ssd.evaluation.seen import without
from ssd.report.page import write_report
from ssd.report.pictures import draw, fit
from ssd.run.lock import RunLock
from ssd.run.names import CHECKPOINTS, EVALUATION, METRICS
from ssd.run.results import origin_of
from ssd.run.rows import has_evaluation
from ssd.steps import StepFigures
from ssd.structures import Batch, DataSet
from ssd.training.build import Parts
from ssd.training.changes import fingerprint
from ssd.training.log import Log, Position
from ssd.training.quarantine import Quarantine
from ssd.training.ranks import any_rank, from_all_ranks, from_first_rank, is_first
from ssd.training.resume import snapshot
from ssd.training.saver import Saver
from ssd.training.share import detect_on_all_ranks
from ssd.training.signals import Signals, Stopped
from ssd.training.step import train_step
from ssd.training.writer import RunWriter

DONE = 0
TENSORBOARD_PICTURES = 4
TENSORBOARD_PIXELS = 480


class Trainer:
    """Trains a model to its last step, on every rank; only the first rank writes and prints.

    Args:
        config: the whole run.
        run_dir: the run folder, which exists.
        parts: the parts of the run, in the state in which it starts or continues.
        signals: requests to stop or save that arrive meanwhile.
        lock: of the run folder, on the first rank.
    """

    def __init__(
        self, config: Config, run_dir: Path, parts: Parts, signals: Signals, lock: RunLock | None
    ) -> None:
        self.config, self.run_dir, self.parts, self.signals = config, run_dir, parts, signals
        self.lock = lock
        self.state, self.order, self.last_step = parts.state, parts.order, parts.length.last_step
        self.images = fingerprint(parts.train_data)
        self.evaluates_first = self.evaluation_is_missing()
        self.writer = self.open_writer() if is_first() else None
        self.log = Log(self.writer, parts.state, config.training, config.loss)
        self.saver = self.open_saver() if is_first() else None
        unusable = parts.train_data.unusable
        num_images = len(parts.train_data.records) + len(unusable)
        self.step = Graphs(self.take_step, self.log.say) if parts.graphs else self.take_step
        self.quarantine = Quarantine(run_dir, num_images, config.data.max_unreadable, unusable)

    def run(self) -> int:
        """Trains to the last step, or until a signal; returns the exit status."""
        signals, state = self.signals, self.state
        steps = self.parts.feed.steps(self.order, state.step, self.last_step, self.log.say)
        with ExitStack() as stack:  # closes the log last: the saver's warnings go through it
            stack.enter_context(closing(self.log))
            stack.enter_context(closing(steps))
            if self.saver is not None:
                stack.enter_context(closing(self.saver))
            self.tell_left_out()
            if self.evaluates_first:
                self.evaluate()
            # A signal may reach only some ranks, but all have to leave the loop at the same step.
            stops = any_rank(signals.stop)[0]
            while state.step < self.last_step and not stops:
                ready = next(steps)
                figures = self.step(ready.batches)
                state.step += 1
                if self.lock is not None:
                    self.lock.check()

                images = [name for batch in ready.batches for name in batch.image_ids]
                self.log.step(self.position(), figures, ready.waited, images)
                stops, saves, unreadable = any_rank(
                    signals.stop, signals.save, bool(ready.problems)
                )
                every = from_all_ranks(ready.problems) if unreadable else []
                self.tell_unreadable([problem for each in every for problem in each])
                # Also before an evaluation, whose score is added to this checkpoint.
                if stops or saves or self.evaluation_is_due() or self.checkpoint_is_due():
                    signals.save = False
                    self.save()
                if self.evaluation_is_due() and not stops:
                    self.evaluate()
                    stops = any_rank(signals.stop)[0]
            if self.saver is not None:
                self.saver.finish()
            if stops:
                at = f"after step {state.step}, which is saved" if state.step else "before step 1"
                self.log.say(f"stopped {at}")
            return signals.status if stops else DONE

    def take_step(self, batches: list[Batch]) -> StepFigures:
        """Takes an optimizer step; on a GPU a CUDA graph repeats it."""
        return train_step(self.state, batches, self.parts.settings)

    def open_writer(self) -> RunWriter:
        """Opens the writer of the rows; drops an evaluation that is about to be repeated."""
        keep = not self.evaluates_first
        return RunWriter(self.run_dir, self.state.step, self.last_step, keep, self.config.loss)

    def open_saver(self) -> Saver:
        """Opens the writer of the checkpoints."""
        folder, classes = self.run_dir / CHECKPOINTS, list(self.parts.train_data.classes)
        return Saver(folder, self.config.checkpoint, to_yaml(self.config), classes, self.log.say)

    def position(self) -> Position:
        """The position of the step just taken in the run."""
        epoch, step_in_epoch = self.order.position(self.state.step - 1)
        return Position(self.state.step, epoch, step_in_epoch, self.order.steps_per_epoch)

    def evaluation_is_missing(self) -> bool:
        """Returns whether the evaluation of the step at which the run resumes was cut short.

        At the last step it was, since a finished run does not get here. A folder without rows has
        only been given a checkpoint, whose run has evaluated already.
        """
        step, metrics = self.state.step, self.run_dir / METRICS
        if step == 0 or self.parts.eval_data is None or not self.evaluation_is_due():
            return False
        unfinished = metrics.exists() and not has_evaluation(metrics, step)
        return from_first_rank(step == self.last_step or unfinished)

    def evaluation_is_due(self) -> bool:
        """Returns whether the step just taken is the last one, or ends an epoch to evaluate."""
        every = self.parts.length.evaluate_every
        epochs, rest = divmod(self.state.step, self.order.steps_per_epoch)
        return self.state.step == self.last_step or (
            rest == 0 and every > 0 and epochs % every == 0
        )

    def checkpoint_is_due(self) -> bool:
        """Returns whether `checkpoint.every_steps` asks for a checkpoint of the step just taken."""
        every = self.config.checkpoint.every_steps or self.order.steps_per_epoch
        return self.state.step % every == 0

    def tell_left_out(self) -> None:
        """Reports the images that were left out before the first step."""
        for use, data in (
            ("training", self.parts.train_data),
            ("evaluation", self.parts.eval_data),
        ):
            new = self.quarantine.note(data.unusable if data else ())
            for problem in new[:SHOWN]:
                self.log.say(f"left out of the {use}: {problem}")
            if len(new) > SHOWN:
                self.log.say(f"… and {len(new) - SHOWN} more, see {self.quarantine.path}")

    def tell_unreadable(self, problems: list[str]) -> None:
        """Reports images of any rank that could not be read; every rank has to call it.

        Raises:
            UserError: too many of them.
        """
        for problem in self.quarantine.take(problems):
            self.log.say(f"unreadable image, replaced by another: {problem}")

    def save(self) -> None:
        """Starts writing a checkpoint; every rank has to call it."""
        self.log.sync()
        content = snapshot(self.state, self.order, self.images, self.parts.device)
        if self.saver is not None:
            self.saver.save(self.state.step, content)

    def evaluate(self) -> None:
        """Evaluates the current model; after the last step, also writes results and report.

        A signal to stop ends the evaluation early. The resumed run then starts with it. Images
        that cannot be read are left out.
        """
        data, workers = self.parts.eval_data, self.config.data.workers
        if data is None:
            self.report_training()
            return
        found = detect_on_all_ranks(self.parts.detector, data.records, workers, self.signals)
        if found is not None and self.writer is not None and self.saver is not None:
            for problem in self.quarantine.note(found.left_out.values()):
                self.log.say(f"unreadable image, left out of the evaluation: {problem}")
            with suppress(Stopped), self.signals.interrupting():
                seen, table = without(data, found.table, found.left_out)
                self.publish_evaluation(seen, table, self.writer, self.saver)
        self.log.restart_clock()

    def report_training(self) -> None:
        """Writes the report of a finished run that has nothing to evaluate on."""
        if self.state.step >= self.last_step and self.writer is not None:
            write_report(self.run_dir, spikes_of_run(self.run_dir))

    def publish_evaluation(
        self, data: DataSet, table: DetectionTable, writer: RunWriter, saver: Saver
    ) -> None:
        """Computes the metric and writes the results, on the first rank."""
        config, step = self.config.evaluation, self.state.step
        if self.lock is not None:
            self.lock.check()  # an evaluation takes long
        result = measure(data, table, config)
        saver.add_score(step, result.mAP)
        for picture in pictures(data, table, TENSORBOARD_PICTURES):
            pixels = draw(fit(picture, TENSORBOARD_PIXELS))
            writer.picture(f"predictions/{picture.name}", pixels, step)
        if step >= self.last_step:
            # A shorter run may have left one, which a kill from here on would pass off as ours.
            (self.run_dir / EVALUATION).unlink(missing_ok=True)
        writer.evaluation(step, self.position().epoch, config.metric, result)
        if step >= self.last_step:
            saved = self.run_dir / CHECKPOINTS / f"step_{step}"
            origin = origin_of(self.config, saved, step)
            publish(self.run_dir, data, table, result, config, origin)
            writer.say(f"\n{result_table(result)}\n")
