"""Times the parts, beside those of others, by turns in one process: medians and their ratio.

python tools/benchmark.py step loss postprocess --against torchvision
python tools/benchmark.py evaluation                VOC's metric, and COCO's by both evaluators
"""

import argparse
from collections.abc import Sequence

from ssd.benchmark.compare import machine
from ssd.benchmark.detecting import benchmark_evaluation, benchmark_postprocess
from ssd.benchmark.training import benchmark_loss, benchmark_step
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
        choices=["step", "loss", "postprocess", "evaluation", "all"],
        help="step: a training step of SSD300-VGG16; loss: matching and loss alone; postprocess: "
        "from predictions to detections; evaluation: from detections to AP, some minutes "
        "(default: all)",
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
    benchmarks = {
        "loss": lambda: benchmark_loss(against, 3 * flags.rounds, device),
        "postprocess": lambda: benchmark_postprocess(against, flags.rounds, device),
        "step": lambda: benchmark_step(against, flags.batch_size, flags.rounds, device),
        "evaluation": lambda: benchmark_evaluation(1),
    }
    for name, benchmark in benchmarks.items():
        if {name, "all"} & parts:
            for comparison in benchmark():
                print(comparison, flush=True)
    return 0


if __name__ == "__main__":
    run(main)
