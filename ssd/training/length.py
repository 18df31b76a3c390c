"""The length of a run: its steps, and the epochs between its evaluations."""

from __future__ import annotations

from dataclasses import dataclass

from ssd.config import EvaluationConfig, TrainingConfig


@dataclass(frozen=True)
class Length:
    """The length of a run.

    Attributes:
        last_step: number of steps in the run.
        evaluate_every: epochs between two evaluations; 0 evaluates only at the end.
        is_extended: whether `training.min_steps` makes it longer.
    """

    last_step: int
    evaluate_every: int
    is_extended: bool = False


def length_of(
    training: TrainingConfig, evaluation: EvaluationConfig, steps_per_epoch: int
) -> Length:
    """The length of a run on a data set.

    `training.min_steps` adds epochs to a training by epochs; the evaluations move apart in
    proportion, so that their number stays about the same.
    """
    every = evaluation.every_epochs
    if training.steps is not None:
        return Length(training.steps, every)
    epochs = max(training.epochs, -(-(training.min_steps or 0) // steps_per_epoch))
    further = -(-every * epochs // training.epochs)
    return Length(epochs * steps_per_epoch, further, epochs > training.epochs)


def closing_epoch(share: float, last_step: int, steps_per_epoch: int) -> int | None:
    """The first epoch, counted from 0, of the last `share` of a run; None if there is none.

    It is the one that begins nearest to that share. The first epoch of a run is closed only if all
    are, by a share of 1.
    """
    if share == 0:
        return None
    if share == 1:
        return 0
    first = max(1, round((1 - share) * last_step / steps_per_epoch))
    return first if first * steps_per_epoch < last_step else None
