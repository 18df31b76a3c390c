"""The order of training: (seed, step, rank) → indices of images, as a pure function.

The shuffled order of an epoch's images depends only on (seed, epoch). Each optimizer step takes
the next images and cuts them, in order, into micro-batches; the images of a micro-batch are dealt
out to the ranks in turn. So the images of a step do not depend on how many ranks and
micro-batches share them, and the number of the next step is the only state of the order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ssd.common.errors import UserError
from ssd.common.words import counted
from ssd.structures import IntArray


@dataclass(frozen=True)
class Order:
    """The assignment of images to steps, micro-batches and ranks.

    Attributes:
        num_images: images in the data set.
        batch_size: images of one micro-batch on one rank.
        accumulate: micro-batches per optimizer step.
        world_size: number of ranks.
        seed: any non-negative integer.
        drop_last: whether to leave out the short last step of each epoch.

    Raises:
        UserError: an epoch has no step.
    """

    num_images: int
    batch_size: int
    accumulate: int
    world_size: int
    seed: int
    drop_last: bool

    def __post_init__(self) -> None:
        """Refuses an order without steps."""
        if self.steps_per_epoch == 0:
            step = f"{counted(self.images_per_step, 'image')} (batch size x accumulate x ranks)"
            some = counted(self.num_images, "training image")
            do = "does" if self.num_images == 1 else "do"
            raise UserError(
                f"{some} {do} not fill a step of {step}: lower "
                "--training.batch_size, or keep the short step by --training.drop_last false"
                if self.num_images
                else "there are no training images: set --data.train_split"
            )

    @property
    def images_per_step(self) -> int:
        """Images of one full optimizer step, over all ranks and micro-batches."""
        return self.images_per_micro_batch * self.accumulate

    @property
    def images_of_largest_step(self) -> int:
        """Images of a full step, or of the data set if it does not fill one."""
        return min(self.images_per_step, self.num_images)

    @property
    def images_per_micro_batch(self) -> int:
        """Images of one full micro-batch, over all ranks."""
        return self.batch_size * self.world_size

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the data."""
        full, rest = divmod(self.num_images, self.images_per_step)
        return full if self.drop_last or rest == 0 else full + 1

    def position(self, step: int) -> tuple[int, int]:
        """(epoch, step in the epoch) of a step; all count from 0, `step` across all epochs."""
        return divmod(step, self.steps_per_epoch)

    def num_micro_batches(self, step: int) -> int:
        """The number of micro-batches of a step: `accumulate`, or fewer if the images run out."""
        _, step_in_epoch = self.position(step)
        left = self.num_images - step_in_epoch * self.images_per_step
        return min(self.accumulate, -(-left // self.images_per_micro_batch))

    def micro_batches(self, step: int, rank: int) -> list[list[int]]:
        """A rank's image indices for each micro-batch of a step.

        Every rank has the same number of micro-batches. In the last one of a short step, a rank
        may get fewer images than another, or none.
        """
        assert 0 <= rank < self.world_size
        epoch, step_in_epoch = self.position(step)
        first = step_in_epoch * self.images_per_step
        images = _shuffled(self.num_images, self.seed, epoch)[first : first + self.images_per_step]
        starts = range(0, len(images), self.images_per_micro_batch)
        parts = [images[start : start + self.images_per_micro_batch] for start in starts]
        return [part[rank :: self.world_size].tolist() for part in parts]


@lru_cache(maxsize=2)
def _shuffled(num_images: int, seed: int, epoch: int) -> IntArray:
    """The epoch's permutation: image indices sorted by random keys.

    numpy guarantees that the raw numbers of a bit generator are the same in all its versions, but
    gives no such guarantee for `permutation`.
    """
    keys = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(num_images)
    return np.argsort(keys, kind="stable")
