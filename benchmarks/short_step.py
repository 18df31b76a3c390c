"""Variants of the short step that the experiment measures, but the framework does not offer.

python -m benchmarks.short_step held --remainders 1 --accumulate 1 --arms step_positives share
python -m benchmarks.short_step positives --remainders 1 --accumulate 1 --arms share

held: in the short step, BatchNorm normalises by its running statistics and leaves them as they are.
positives: the arm `share` weights the short step by its positives / the mean of the full steps so
    far, instead of by its images.

All other arguments are those of `ssd spikes`. Give an --out of its own to each variant: runs that
are finished are not repeated, whatever made them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssd.commands.spikes import main as spikes
from ssd.commands.status import run
from ssd.common.errors import UserError
from ssd.config import LossConfig
from ssd.loss import normalize
from ssd.loss.normalize import StepCounts
from ssd.steps import StepFigures
from ssd.structures import Batch
from ssd.training import trainer
from ssd.training.step import StepSettings, TrainState, train_step


def main(arguments: Sequence[str]) -> int:
    """Runs the experiment under a variant; returns the exit status."""
    variant, *others = arguments or [""]
    if variant == "held":
        trainer.train_step = held_step  # type: ignore[attr-defined]
    elif variant == "positives":
        normalize.step_weight = ShareOfPositives()
    else:
        raise UserError(f"there is no variant {variant!r}: give held or positives")
    # A folder of its own, never that of the experiment itself.
    if not any(word.partition("=")[0] == "--out" for word in others):
        others += ["--out", f"runs/short_step_{variant}"]
    return spikes(others)


def held_step(
    state: TrainState, micro_batches: Sequence[Batch], settings: StepSettings
) -> StepFigures:
    """A step that holds BatchNorm's statistics if it is a short one."""
    images = sum(len(batch.images) for batch in micro_batches)
    norms = [module for module in state.model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train(images == settings.images_per_step)
    return train_step(state, micro_batches, settings)


class ShareOfPositives:
    """Weights a short step by its positives / the mean positives of the full steps so far."""

    def __init__(self) -> None:
        self._full_steps, self._positives = 0, torch.zeros(())

    def __call__(self, step: StepCounts, loss: LossConfig) -> Tensor | float:
        """Takes the place of `ssd.loss.normalize.step_weight`."""
        if step.images_per_step is None:
            return 1.0
        if step.num_images == step.images_per_step:
            self._full_steps += 1
            self._positives = self._positives + step.num_positives
        elif loss.short_step == "share":
            return step.num_positives * self._full_steps / self._positives
        return 1.0


if __name__ == "__main__":
    run(main)
