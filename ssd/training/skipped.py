"""Tells of the steps that were skipped, and ends a training that skips too many in a row.

The device decides in each step whether its gradient is finite, and if it is not, leaves weights,
momenta, statistics and average as they are. The host learns of it when the figures are logged:
every `training.log_every` steps, and before a checkpoint. A training that has skipped
`training.max_skipped` steps in a row ends there, at most `log_every` - 1 steps late, even if one of
these was finite. Their rows are in metrics.jsonl, and no checkpoint holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ssd.common.errors import UserError
from ssd.common.words import counted
from ssd.steps import StepRow
from ssd.training.ranks import from_all_ranks
from ssd.training.step import TrainState


class Skipped:
    """Follows the skipped steps of a run; every rank has one.

    Args:
        state: `skipped_in_row` is kept up to date.
        most: steps in a row at which training ends.
        say: prints a line.
    """

    def __init__(self, state: TrainState, most: int, say: Callable[[str], None]) -> None:
        self._state, self._most, self._say = state, most, say

    def take(self, rows: Sequence[StepRow], images: Sequence[Sequence[str]]) -> None:
        """Takes the rows of the steps just logged and the names of this rank's images in each.

        Every rank has to call it with the rows of the same steps.

        Raises:
            UserError: too many steps in a row were skipped.
        """
        for row, names in zip(rows, images, strict=True):
            self._state.skipped_in_row = self._state.skipped_in_row + 1 if row.skipped else 0
            if row.skipped:
                self._tell(row, names)
            if self._state.skipped_in_row >= self._most:
                steps = counted(self._most, "step")
                raise UserError(
                    f"{steps} in a row had a gradient that is not finite, the last at "
                    f"step {row.step}; the weights never saw them: lower optimizer.lr, set "
                    "training.clip_norm or training.precision fp32, or look for broken boxes in "
                    "the data"
                )

    def _tell(self, row: StepRow, names: Sequence[str]) -> None:
        images = ", ".join(name for each in from_all_ranks(list(names)) for name in each)
        self._say(
            f"step {row.step} skipped because its gradient is not finite: class loss "
            f"{row.class_loss_sum:g}, box loss {row.box_loss_sum:g}, positives "
            f"{row.num_positives:g}, images {images}"
        )
