"""Times the parts, beside torchvision's, by turns in one process: medians and their ratio.

python tools/benchmark.py step loss --against torchvision
"""

import argparse
from collections.abc import Sequence

from ssd.benchmark import benchmark_loss, benchmark_step, machine
from ssd.cli import run
from ssd.errors import UserError
from ssd.training.device import choose_device


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tools/benchmark.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        default="all",
        choices=["step", "loss", "all"],
        help="step: a training step of SSD300-VGG16; loss: matching and loss alone (default: all)",
    )
    parser.add_argument("--against", choices=["torchvision"], help="measure it beside ours")
    parser.add_argument("--batch-size", type=int, default=8, help="images of a step (default: 8)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default: 5)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    flags = parser.parse_args(arguments)
    if min(flags.rounds, flags.batch_size) < 1:
        raise UserError("--rounds and --batch-size have to be at least 1")
    parts = {flags.parts} if isinstance(flags.parts, str) else set(flags.parts)
    device = choose_device(flags.device)
    against = flags.against is not None
    print(machine(device), flush=True)
    if {"loss", "all"} & parts:
        for comparison in benchmark_loss(against, 3 * flags.rounds, device):
            print(comparison, flush=True)
    if {"step", "all"} & parts:
        for comparison in benchmark_step(against, flags.batch_size, flags.rounds, device):
            print(comparison, flush=True)
    return 0


if __name__ == "__main__":
    run(main)
