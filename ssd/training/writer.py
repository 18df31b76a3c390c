"""The first rank's output during training: metrics.jsonl, TensorBoard, the progress."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssd.common.progress import Progress, say
from ssd.config import LossConfig
from ssd.evaluation.result import EvaluationResult
from ssd.run.names import METRICS, TENSORBOARD
from ssd.run.rows import RowFile, cut_back, only, read_rows
from ssd.spikes.runaway import RunawayWatch
from ssd.spikes.watch import RunWatch
from ssd.steps import EvaluationRow, StepRow
from ssd.training.board import Board
from ssd.training.pace import Pace

SCALARS = {
    "num_positives": "batch/positives",
    "lr": "optimizer/lr",
    "grad_norm": "optimizer/grad_norm",
    "momentum_norm": "optimizer/momentum_norm",
    "images_per_second": "speed/images_per_second",
    "data_wait_seconds": "speed/data_wait_seconds",
}


class RunWriter:
    """Writes the rows of a run; exists only on the first rank.

    Opening it on an existing run cuts metrics.jsonl back to `steps_taken`, so that a resumed run
    repeats no row.

    Args:
        run_dir: the run folder.
        steps_taken: steps taken before.
        last_step: last step of the run.
        keep_evaluation: whether the evaluation at `steps_taken` is kept.
        loss: the section of the config.
    """

    def __init__(
        self,
        run_dir: Path,
        steps_taken: int,
        last_step: int,
        keep_evaluation: bool,
        loss: LossConfig,
    ) -> None:
        path = run_dir / METRICS
        cut_back(path, steps_taken, keep_evaluation)
        before = only(StepRow, read_rows(path))
        self._file = RowFile(path, self.say)
        self._board = Board(run_dir / TENSORBOARD, steps_taken, self.say)
        self._progress = Progress("training", last_step, "step", steps_taken)
        self._pace = Pace(last_step)
        self._loss = loss
        self._watch = RunWatch(run_dir, loss, before)
        self._runaway = RunawayWatch(loss.box_weight, before)

    def advance(self) -> None:
        """Moves the progress bar by a step."""
        self._progress.advance()

    def steps(self, rows: Sequence[StepRow]) -> None:
        """Writes one or more rows, which are in the order of their steps."""
        for row in rows:
            self._file.add(row)
            self._show(row)
            for tag, watch in (("spikes", self._watch), ("runaway", self._runaway)):
                if (warning := watch.take(row)) is not None:
                    self.say(f"warning: {warning}")
                    self._board.text(tag, warning, row.step)
        if (told := self._pace.take(rows)) is not None:
            self.say(told)
        last = rows[-1]
        self._progress.note(
            f"epoch {(last.epoch or 0) + 1}, loss {last.loss:.3f}, "
            f"{last.images_per_second:.1f} images/s"
        )

    def _show(self, row: StepRow) -> None:
        """Adds a row to TensorBoard's curves; the two parts of the loss add up to the total."""
        undivided = row.class_loss_sum + self._loss.box_weight * row.box_loss_sum
        scale = row.loss / undivided if undivided > 0 else 0.0
        self._board.scalar("loss/total", row.loss, row.step)
        self._board.scalar("loss/class", scale * row.class_loss_sum, row.step)
        self._board.scalar("loss/box", scale * row.box_loss_sum, row.step)
        for name, tag in SCALARS.items():
            self._board.scalar(tag, getattr(row, name), row.step)

    def evaluation(self, step: int, epoch: int, metric: str, result: EvaluationResult) -> None:
        """Writes the figures of an evaluation."""
        row = EvaluationRow(step, epoch, metric, result.mAP, result.per_class)
        self._board.scalar("evaluation/mAP", result.mAP, step)
        self._board.flush()
        self._file.add(row)  # last: a run that ends before this repeats the evaluation
        left_out = f", left out: {result.images_left_out}" if result.images_left_out else ""
        self.say(f"epoch {epoch + 1}, step {step}: mAP {result.mAP:.4f}{left_out}")

    def picture(self, tag: str, pixels: Any, step: int) -> None:
        """Shows a picture [H, W, 3] uint8 in TensorBoard."""
        self._board.picture(tag, pixels, step)

    def say(self, text: str) -> None:
        """Prints a line without tearing a progress bar."""
        say(text)

    def sync(self) -> None:
        """Waits until the disk has the rows."""
        self._board.flush()
        self._file.sync()

    def close(self) -> None:
        """Closes the files; repeats the warning of a loss that has run away."""
        if self._runaway.warning:
            self.say(f"warning: {self._runaway.warning}")
        self._file.close()
        self._board.close()
        self._progress.close()
