"""The divisor of an optimizer step's summed loss.

The loss of an image is a sum over its positives and hard negatives. Dividing by the number of
positives turns it into a mean, so that steps with many and with few objects weigh the same. The
right number is N, the positives of the *whole step*, over all its micro-batches and all ranks.
The gradient is then that of one large batch, however its images are split. (This holds as long as
the network treats images separately; BatchNorm takes its statistics over a micro-batch.)

    step_positives               sum over the step / N

The other divisors in use divide the sum of a smaller group first and average afterwards. A mean
of means is not the overall mean: the weight of a positive then depends on the group it is in.

    rank_positives               mean over ranks and micro-batches of (sum / its positives)
                                 torchvision; Caffe and most others
    image_positives              mean over images of (sum of the image / its positives)
                                 NVIDIA, MLPerf
    batch_positives_and_size     as rank_positives, then divided by the batch size as well
                                 a Keras loss that returned a mean, which Keras then averaged

The last one causes the regular spike. As long as the batch size B stays the same, dividing a mean
by it is only a constant factor, which the learning rate absorbs. But the last batch of an epoch
holds only the remaining r = (images mod B) images, so once per epoch the loss and the gradient
are B / r times too large, and momentum carries the excess into the following steps.

Each of the four rules is one line below, as the divisor of each image's sum.

A mean also hides how many images it is about. The optimizer gives the mean over the r images of the
short last step the weight that it gives the mean over B images, so each of the r counts B / r times
as much as an image of a full step. Under `batch_positives_and_size` it is (B / r)² times, since the
mean itself is B / r times too large. Under `step_positives`, the gradient of a step is therefore
weighted by its share of a full step's images (`loss.short_step: share`):

    share of a step = its images / the images of a full step, over all micro-batches and ranks

A full step has a share of 1 and does not change. The reported loss stays the mean over the step's
positives, so the curve does not show the weight. The other divisors are there for comparison and
count every step in full, as their sources do.

Letters: `B` images of a micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssd.config import DIVISORS, Divisor, LossConfig
from ssd.structures import LossSums


@dataclass(frozen=True)
class StepCounts:
    """The counts of a step, all known before its first forward pass.

    Attributes:
        num_positives: positives of all micro-batches and ranks, a float32 scalar.
        num_images: images of all micro-batches and ranks, a float32 scalar.
        num_micro_batches: micro-batches that each rank runs.
        world_size: number of ranks, whose gradients are averaged.
        images_per_step: images of a full step, over all micro-batches and ranks; None if every
            step is a full one.
    """

    num_positives: Tensor
    num_images: Tensor
    num_micro_batches: int
    world_size: int
    images_per_step: int | None = None


@dataclass(frozen=True)
class Losses:
    """The contribution of one micro-batch to the loss of its step.

    Attributes:
        under: the loss under every divisor, a float32 scalar each.
        objective: the loss to backpropagate, a float32 scalar: that under the rule in use, times
            the weight of the step.
        divisors: [B] float32, the divisor of each image's sum under the rule in use.
    """

    under: dict[Divisor, Tensor]
    objective: Tensor
    divisors: Tensor


def image_divisors(divisor: Divisor, positives_B: Tensor, step: StepCounts) -> Tensor:
    """The divisors [B] of the images' loss sums in a micro-batch, with every factor included.

    Args:
        divisor: the rule; see the module docstring.
        positives_B: positives of each image of this micro-batch, float32.
        step: the counts of the whole step.
    """
    averaged = step.world_size * step.num_micro_batches  # ranks and micro-batches
    batch_size = len(positives_B)
    match divisor:
        case "step_positives":
            divisors = step.num_positives.clamp(min=1)
        case "rank_positives":
            divisors = averaged * positives_B.sum().clamp(min=1)
        case "image_positives":
            divisors = averaged * batch_size * positives_B.clamp(min=1)
        case "batch_positives_and_size":
            divisors = averaged * batch_size * positives_B.sum().clamp(min=1)
    return torch.broadcast_to(divisors, positives_B.shape)


def step_weight(step: StepCounts, loss: LossConfig) -> Tensor | float:
    """The weight of the step's gradient: its share of a full step, or 1; see the module docstring.

    Args:
        step: the counts of the whole step.
        loss: the section of the config.
    """
    counts_in_full = loss.divisor != "step_positives" or loss.short_step == "full"
    if counts_in_full or step.images_per_step is None:
        return 1.0
    return (step.num_images / step.images_per_step).clamp(max=1)


def losses_under(sums: LossSums, step: StepCounts, loss: LossConfig) -> Losses:
    """The loss of one micro-batch under every divisor, and the one to backpropagate.

    The divisors that are not in use cost a dozen operations on [B] numbers and show in the log the
    loss that the same step would have had under them.
    DistributedDataParallel averages the gradients of the ranks, whereas the loss is their sum, so
    each rank's loss carries the factor `world_size`.
    """
    loss_B = sums.class_loss + loss.box_weight * sums.box_loss
    by_rule = {rule: image_divisors(rule, sums.num_positives, step) for rule in DIVISORS}
    under = {
        rule: (step.world_size / divisors_B * loss_B).sum() for rule, divisors_B in by_rule.items()
    }
    objective = step_weight(step, loss) * under[loss.divisor]
    return Losses(under, objective, by_rule[loss.divisor])
