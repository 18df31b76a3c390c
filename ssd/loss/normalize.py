"""What the summed loss of an optimizer step is divided by.

The loss of an image is a sum over its positives and hard negatives. Divided by the number of
positives, it becomes a mean, and steps with many and with few objects weigh the same. There is
one honest number to divide by: the positives N of the *whole step*, over all its micro-batches
and all ranks. Then the gradient is that of one large batch, however its images were split (as far
as the network treats images apart: BatchNorm's statistics are those of a micro-batch):

    step_positives               sum over the step / N

Every other divisor in use divides something smaller first and averages afterwards. A mean of
means is another mean: an image's weight then depends on the company it happens to be in.

    rank_positives               mean over ranks and micro-batches of (sum / its positives)
                                 torchvision; Caffe and most others
    image_positives              mean over images of (sum of the image / its positives)
                                 NVIDIA, MLPerf
    batch_positives_and_size     as rank_positives, then divided by the batch size as well
                                 a Keras loss that returned a mean, which Keras then averaged

The last is the regular spike. Dividing a mean by the batch size B is only a factor as long as B
stays the same, and the learning rate absorbs it. But the last batch of an epoch holds the
r = (images mod B) that are left over, so once per epoch the loss and the gradient are B / r times
too large, and the momentum carries the blow into the following steps.

Written as what each image's sum is divided by, all four are one line each.

Letters: `B` images of a micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssd.config import DIVISORS, Divisor
from ssd.structures import LossSums


@dataclass(frozen=True)
class StepCounts:
    """What a step knows before its first forward pass.

    Attributes:
        num_positives: positives of all micro-batches and ranks, a float32 scalar.
        num_micro_batches: micro-batches that each rank runs.
        world_size: ranks, whose gradients are averaged.
    """

    num_positives: Tensor
    num_micro_batches: int
    world_size: int


@dataclass(frozen=True)
class Losses:
    """What a micro-batch contributes to the loss of its step.

    Attributes:
        under: the loss under every divisor, a float32 scalar each, with its graph.
        divisors: [B] float32, what the sum of each image is divided by under the rule in use.
    """

    under: dict[Divisor, Tensor]
    divisors: Tensor


def image_divisors(divisor: Divisor, positives_B: Tensor, step: StepCounts) -> Tensor:
    """What the sum of each image [B] of a micro-batch is divided by, all in all.

    Args:
        divisor: the rule, see above.
        positives_B: positives of each image of this micro-batch, float32.
        step: the counts of the whole step.
    """
    parts = step.world_size * step.num_micro_batches
    batch_size = len(positives_B)
    match divisor:
        case "step_positives":
            divisors = step.num_positives.clamp(min=1)
        case "rank_positives":
            divisors = parts * positives_B.sum().clamp(min=1)
        case "image_positives":
            divisors = parts * batch_size * positives_B.clamp(min=1)
        case "batch_positives_and_size":
            divisors = parts * batch_size * positives_B.sum().clamp(min=1)
    return torch.broadcast_to(divisors, positives_B.shape)


def losses_under(sums: LossSums, step: StepCounts, box_weight: float, used: Divisor) -> Losses:
    """The loss of one micro-batch under every divisor, and the divisors of the rule in use.

    The loss of that rule is backpropagated; the others cost a dozen operations on [B] numbers and
    tell, in the log, what the same step would have reported. DistributedDataParallel averages the
    gradients of the ranks, so each rank's loss carries the factor `world_size`.
    """
    loss_B = sums.class_loss + box_weight * sums.box_loss
    divisors_B = {
        divisor: image_divisors(divisor, sums.num_positives, step) for divisor in DIVISORS
    }
    under = {
        divisor: (step.world_size / each_B * loss_B).sum() for divisor, each_B in divisors_B.items()
    }
    return Losses(under, divisors_B[used])
