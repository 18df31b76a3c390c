"""Measures the cost of several ranks: a step with their exchange, without it, and on one rank.

All sides run by turns and train on the same images per step in fp32:

| side | ranks | images per rank | threads per rank | gradients |
|---|---|---|---|---|
| exchanging | R | B / R | cores / R | averaged by DistributedDataParallel, as in training |
| apart | R, at once | B / R | cores / R | each rank's own: the plain module |
| one rank | the first | B | all cores | its own; the other ranks wait |

(The gradients of the last two are R times too large because nothing averages them; no time depends
on that.)

The extra time of `exchanging` over `apart` is communication: the transfers that the backward pass
does not hide, the copies into the buckets and back, the threads of gloo, which use the same cores,
and the faster rank's wait for the slower one. Both sides add up the positives of all ranks, since
`train_step` does. That sum of one number is also timed alone, and so is a sum of as many numbers as
the gradient has. The latter is the wait of a backward pass that hides nothing; it checks the share
of communication, which is a small difference of two large times. A side ends when its last rank
has finished, which another sum of one number detects.

Two ranks share a CPU and use gloo; on GPUs, each rank has its own and uses NCCL.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from benchmarks.compare import Comparison, Side, compare, synchronize
from benchmarks.training import our_state, random_batch
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
    """Times a step on one rank and on several, and reports the share of communication.

    Args:
        config: the network.
        batch_size: images per step, over all ranks.
        rounds: turns of each side.
        device: a CPU, or the type of the GPUs.
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
        signals_to_handle="SIGTERM",  # Ctrl-C keeps its usual effect
    )
    measured = elastic_launch(launched, measure)(
        config, batch_size, rounds, torch.get_num_threads(), device.type
    )
    return lines(measured[0], ranks, batch_size)


def lines(seconds: dict[str, float], ranks: int, batch_size: int) -> list[str]:
    """Formats the measurements as lines of text.

    Args:
        seconds: median of each side.
        ranks: number of ranks of all sides except the single-rank one.
        batch_size: images per step.
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
        batch_size: images per step, over all ranks.
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
        counts = torch.zeros(2, device=device)
        sides: dict[str, Side] = {
            EXCHANGING: step(exchanging, own, settings, threads),
            APART: step(apart, own, settings, threads),
            ONE_RANK: step(one_rank, whole, settings, cores) if is_first() else waiting(counts),
            GRADIENT: lambda: sum_over_ranks(gradient),
            POSITIVES: lambda: sum_over_ranks(counts),
        }
        seconds = compare("ranks", sides, rounds, device).seconds
        assert gradient_is_shared(exchanging.model)
        assert not gradient_is_shared(apart.model)
        assert all(int(state.updates) > 0 for state in (exchanging, apart))
        return seconds


def share_of_rank(batch: Batch) -> Batch:
    """This rank's share of the images of a step."""

    def own(values: Tensor) -> Tensor:
        return values.tensor_split(world_size())[rank()]

    return Batch(own(batch.images), own(batch.boxes), own(batch.labels), [])


def step(state: TrainState, batch: Batch, settings: StepSettings, threads: int) -> Side:
    """Returns a step of this rank, which ends when all ranks have finished theirs."""

    def side() -> None:
        torch.set_num_threads(threads)
        train_step(state, [batch], settings)
        wait_for_all(settings.default_boxes.device)

    return side


def waiting(counts: Tensor) -> Side:
    """Returns a step for the ranks that wait: it only takes part in the sum of counts."""

    def side() -> None:
        sum_over_ranks(counts)
        wait_for_all(counts.device)

    return side


def wait_for_all(device: torch.device) -> None:
    """Returns when every rank and its GPU have finished their work."""
    synchronize(device)
    sum_over_ranks(torch.zeros(()))


def gradient_is_shared(model: nn.Module) -> bool:
    """Returns whether the gradients of all ranks are bit-identical; every rank has to call it."""
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    own = torch.cat(gradients)
    firsts = own.clone()
    dist.broadcast(firsts, 0)
    return all(from_all_ranks(torch.equal(firsts, own)))
