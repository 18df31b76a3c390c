"""What several ranks cost: a step with the exchange between them, without it, and of one rank.

All sides run by turns, and train on the same images of a step in fp32:

| side | ranks | images of a rank | threads of a rank | gradients |
|---|---|---|---|---|
| exchanging | R | B / R | cores / R | averaged by DistributedDataParallel, as in training |
| apart | R, at once | B / R | cores / R | each rank's own: the plain module |
| one rank | the first | B | all cores | its own; the other ranks wait |

(The gradients of the latter two are R times too large, for want of an average; no time depends on
that.)

What `exchanging` takes longer than `apart` is communication: the bytes on their way as far as the
backward pass does not hide them, the copies into the buckets and back, the threads of gloo, which
take their time from the same cores, and the faster rank's waiting for the slower. Both add up the
positives of all ranks, since `train_step` does. That sum of one number is timed by itself, and so
is one of as many numbers as the gradient has: a check on the share, which is a small difference of
two large times, and what a backward pass that hides nothing would wait for. A side ends when its
last rank is through, which another sum of one number finds out.

A CPU is shared by two ranks, by gloo; of GPUs each rank has one, by NCCL.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from benchmarks.compare import Comparison, Side, compare, synchronize
from benchmarks.training import LEARNING_RATE, our_state, random_batch
from ssd.config import ModelConfig
from ssd.structures import Batch
from ssd.training.ranks import (
    from_all_ranks,
    is_first,
    joined_ranks,
    rank,
    sum_over_ranks,
    world_size,
)
from ssd.training.step import StepSettings, TrainState, train_step

RANKS_OF_A_CPU = 2
EXCHANGING, APART, ONE_RANK = "exchanging", "apart", "one rank"
GRADIENT, POSITIVES = "gradient alone", "positives alone"


def benchmark_ranks(
    config: ModelConfig, batch_size: int, rounds: int, device: torch.device
) -> list[str]:
    """Times a step of 1 rank and of several, and says how much of the latter is communication.

    Args:
        config: the network.
        batch_size: images of a step, of all ranks together.
        rounds: turns of each side.
        device: a CPU, or the kind of the GPUs.
    """
    on_gpu = device.type == "cuda"
    ranks = torch.cuda.device_count() if on_gpu else RANKS_OF_A_CPU
    if ranks == 1:
        return ["ranks: only 1, timed above; each takes a GPU of its own, and here is one"]
    launched = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id="benchmark",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        max_restarts=0,
        signals_to_handle="SIGTERM",  # Ctrl-C stays what it is
    )
    measured = elastic_launch(launched, measure)(
        config, batch_size, rounds, torch.get_num_threads(), device.type
    )
    return lines(measured[0], ranks, batch_size)


def lines(seconds: dict[str, float], ranks: int, batch_size: int) -> list[str]:
    """What was measured, in words.

    Args:
        seconds: median of each side.
        ranks: of all sides but the one of one rank.
        batch_size: images of a step.
    """
    exchanging, apart = seconds[EXCHANGING], seconds[APART]
    several = {f"{ranks} ranks": exchanging}
    name = f"ranks, batch {batch_size}, fp32"
    return [
        str(Comparison(name, several | {"1 rank": seconds[ONE_RANK]})),
        str(Comparison(name, several | {"without exchange": apart})),
        f"{'share of communication':<34} {1 - apart / exchanging:.1%}",
        f"{'the sums alone':<34} gradient {seconds[GRADIENT] * 1e3:.1f} ms   "
        f"positives {seconds[POSITIVES] * 1e3:.1f} ms",
    ]


def measure(
    config: ModelConfig, batch_size: int, rounds: int, cores: int, device_type: str
) -> dict[str, float]:
    """Median seconds of each side; every rank runs this, and all have to agree on the gradient.

    Args:
        config: the network.
        batch_size: images of a step, of all ranks together.
        rounds: turns of each side.
        cores: threads that all ranks share.
        device_type: cpu or cuda.
    """
    device = torch.device(device_type)
    with joined_ranks(device):
        whole = random_batch(batch_size, config.input_size, device)
        own, threads = share_of_rank(whole), max(1, cores // world_size())
        exchanging, settings = our_state(config, None, device)
        exchanging.model = nn.parallel.DistributedDataParallel(exchanging.model)
        apart, one_rank = (our_state(config, None, device)[0] for _ in range(2))
        gradient = torch.cat([torch.zeros_like(p).flatten() for p in apart.model.parameters()])
        no_positives = torch.zeros((), device=device)
        sides: dict[str, Side] = {
            EXCHANGING: step(exchanging, own, settings, threads),
            APART: step(apart, own, settings, threads),
            ONE_RANK: step(one_rank, whole, settings, cores)
            if is_first()
            else waiting(no_positives),
            GRADIENT: lambda: sum_over_ranks(gradient),
            POSITIVES: lambda: sum_over_ranks(no_positives),
        }
        seconds = compare("ranks", sides, rounds, device).seconds
        assert gradient_is_shared(exchanging.model)
        assert not gradient_is_shared(apart.model)
        assert all(state.updates == state.step for state in (exchanging, apart, one_rank))
        return seconds


def share_of_rank(batch: Batch) -> Batch:
    """The images of a step that are this rank's."""

    def own(values: Tensor) -> Tensor:
        return values.tensor_split(world_size())[rank()]

    return Batch(own(batch.images), own(batch.boxes), own(batch.labels), [])


def step(state: TrainState, batch: Batch, settings: StepSettings, threads: int) -> Side:
    """A step of this rank, which ends when all ranks are through with theirs."""

    def side() -> None:
        torch.set_num_threads(threads)
        train_step(state, [batch], settings, LEARNING_RATE)
        wait_for_all(settings.default_boxes.device)

    return side


def waiting(no_positives: Tensor) -> Side:
    """What a rank does while the first one trains alone: its share of the sum of positives."""

    def side() -> None:
        sum_over_ranks(no_positives)
        wait_for_all(no_positives.device)

    return side


def wait_for_all(device: torch.device) -> None:
    """Returns when every rank, and its GPU, is through with what it was told to do."""
    synchronize(device)
    sum_over_ranks(torch.zeros(()))


def gradient_is_shared(model: nn.Module) -> bool:
    """Whether all ranks hold the same gradient, to the bit; each of them has to call it."""
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    own = torch.cat(gradients)
    firsts = own.clone()
    dist.broadcast(firsts, 0)
    return all(from_all_ranks(torch.equal(firsts, own)))
