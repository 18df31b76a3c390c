"""What a run says while it runs: metrics.jsonl, TensorBoard and the progress bar.

Figures of a step stay on the device until `log_every` steps have come together; then they are
read in one transfer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ssd.config import DIVISORS, LossConfig, TrainingConfig
from ssd.evaluation.results import EvaluationResult
from ssd.metrics import read_metrics
from ssd.training.board import Board
from ssd.training.distributed import sum_over_ranks, world_size
from ssd.training.rows import RowFile, cut_back, finite_or_none
from ssd.training.step import StepFigures
from ssd.training.watch import SpikeWatch

SCALARS = {
    "loss": "loss/total",
    "class_loss": "loss/class",
    "box_loss": "loss/box",
    "num_positives": "batch/positives",
    "lr": "optimizer/lr",
    "grad_norm": "optimizer/grad_norm",
    "momentum_norm": "optimizer/momentum_norm",
    "images_per_second": "speed/images_per_second",
    "data_wait_seconds": "speed/data_wait_seconds",
}


METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True)
class Position:
    """Where a step stands in the run; all but `step` count from 0."""

    step: int
    epoch: int
    step_in_epoch: int
    steps_per_epoch: int


class MetricsLog:
    """Collects the figures of the steps and writes them out; on the first rank alone.

    Opening it on an existing run cuts metrics.jsonl back to `first_step`, so that a resumed run
    repeats no row.

    Args:
        run_dir: the run folder.
        first_step: steps taken before.
        last_step: of the run.
        keep_evaluation: whether the evaluation at `first_step` stands.
        training: the section of the config.
        loss: the section of the config.
    """

    def __init__(
        self,
        run_dir: Path,
        first_step: int,
        last_step: int,
        keep_evaluation: bool,
        training: TrainingConfig,
        loss: LossConfig,
    ) -> None:
        path = run_dir / METRICS_FILE
        cut_back(path, first_step, keep_evaluation)
        self._file = RowFile(path, self.say)
        self._board = Board(run_dir / "tensorboard", first_step, self.say)
        self._bar = tqdm(
            total=last_step, initial=first_step, unit="step", desc="training", dynamic_ncols=True
        )
        self._training = training
        self._loss = loss
        rows = read_metrics(path) if first_step else []
        self._watch = SpikeWatch(run_dir, loss.divisor, rows)
        self._pending: list[tuple[Position, StepFigures, float, float]] = []
        self._last_time = time.perf_counter()

    def step(self, position: Position, figures: StepFigures, data_wait: float) -> None:
        """Takes the figures of a step; `data_wait` is the time in seconds without data."""
        now = time.perf_counter()
        self._pending.append((position, figures, data_wait, now - self._last_time))
        self._last_time = now
        self._bar.update()
        if len(self._pending) >= self._training.log_every:
            self.flush()

    def flush(self) -> None:
        """Reads the pending figures from the device and writes them."""
        if not self._pending:
            return
        sums = sum_over_ranks(torch.stack([figures.sums for _, figures, _, _ in self._pending]))
        norms = [[figures.grad_norm, figures.momentum_norm] for _, figures, _, _ in self._pending]
        norms_N2 = torch.stack([torch.stack(pair) for pair in norms]).to(sums)
        values = torch.cat([norms_N2, sums], 1).tolist()
        seconds = sum(duration for *_, duration in self._pending) / len(self._pending)
        for (position, figures, data_wait, _), row in zip(self._pending, values, strict=True):
            self._write_step(position, figures, data_wait, seconds, row)
        self._pending.clear()

    def sync(self) -> None:
        """Writes the pending figures, and waits until the disk has them."""
        self.flush()
        self._board.flush()
        self._file.sync()

    def _write_step(
        self,
        position: Position,
        figures: StepFigures,
        data_wait: float,
        seconds: float,
        values: list[float],
    ) -> None:
        grad_norm, momentum_norm, class_sum, box_sum, num_positives, num_images, *losses = values
        loss_under = {
            divisor: finite_or_none(loss / world_size())
            for divisor, loss in zip(DIVISORS, losses, strict=True)
        }
        loss = losses[DIVISORS.index(self._loss.divisor)] / world_size()
        clip_norm = self._training.clip_norm
        undivided = class_sum + self._loss.box_weight * box_sum
        divisor = undivided / loss if loss > 0 else max(1.0, num_positives)
        row: dict[str, Any] = {
            "kind": "train",
            "step": position.step,
            "epoch": position.epoch,
            "step_in_epoch": position.step_in_epoch,
            "steps_per_epoch": position.steps_per_epoch,
            "loss": loss,
            "class_loss_sum": class_sum,
            "box_loss_sum": box_sum,
            "num_positives": int(num_positives),
            "num_images": int(num_images),
            "divisor": divisor,
            "lr": figures.lr,
            "grad_norm": grad_norm,
            "momentum_norm": momentum_norm,
            "clipped": clip_norm is not None and grad_norm > clip_norm,
            "skipped": figures.skipped,
            "images_per_second": num_images / seconds,
            "data_wait_seconds": data_wait,
            "loss_under": loss_under,
        }
        self._file.add(row)
        warning = self._watch.take(row)
        if warning is not None:
            self.say(f"regular spikes: {warning}")
            self._board.text("spikes", warning, position.step)
        shares = {"class_loss": class_sum / divisor, "box_loss": box_sum / divisor}
        for name, tag in SCALARS.items():
            self._board.scalar(tag, (row | shares)[name], position.step)
        self._bar.set_postfix_str(
            f"epoch {position.epoch + 1}, loss {loss:.3f}, {row['images_per_second']:.1f} images/s",
            refresh=False,
        )

    def evaluation(self, position: Position, metric: str, result: EvaluationResult) -> None:
        """Writes the figures of an evaluation."""
        row = {
            "kind": "eval",
            "step": position.step,
            "epoch": position.epoch,
            "metric": metric,
            "mAP": result.mAP,
            "per_class": {name: finite_or_none(ap) for name, ap in result.per_class.items()},
        }
        self._board.scalar("evaluation/mAP", result.mAP, position.step)
        self._board.flush()
        self._file.add(row)  # last: a run that ends before evaluates again when it goes on
        self.say(f"epoch {position.epoch + 1}, step {position.step}: mAP {result.mAP:.4f}")
        self._last_time = time.perf_counter()

    def picture(self, tag: str, pixels: Any, step: int) -> None:
        """Shows a picture [H, W, 3] uint8 in TensorBoard."""
        self._board.picture(tag, pixels, step)

    def say(self, text: str) -> None:
        """Prints a line without tearing the progress bar."""
        self._bar.write(text)

    def close(self) -> None:
        """Writes what is pending and closes the files.

        With several ranks this is no time for a sum over them: after an error the others are
        elsewhere. Where all went well nothing is pending.
        """
        if world_size() == 1:
            self.flush()
        self._file.close()
        self._board.close()
        self._bar.close()


class SilentLog:
    """The log of a rank that is not the first: it adds its sums to that one's, and says nothing."""

    def __init__(self, log_every: int) -> None:
        self._log_every = log_every
        self._pending: list[StepFigures] = []

    def step(self, position: Position, figures: StepFigures, data_wait: float) -> None:
        """Takes the figures of a step."""
        self._pending.append(figures)
        if len(self._pending) >= self._log_every:
            self.flush()

    def flush(self) -> None:
        """Adds the pending sums to those of the first rank, which flushes at the same steps."""
        if self._pending:
            sum_over_ranks(torch.stack([figures.sums for figures in self._pending]))
            self._pending.clear()

    def sync(self) -> None:
        """Takes part in the first rank's flush."""
        self.flush()

    def evaluation(self, position: Position, metric: str, result: EvaluationResult) -> None:
        """Says nothing."""

    def picture(self, tag: str, pixels: Any, step: int) -> None:
        """Shows nothing."""

    def say(self, text: str) -> None:
        """Says nothing."""

    def close(self) -> None:
        """Has nothing to close."""


Log = MetricsLog | SilentLog
