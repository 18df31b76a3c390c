"""Times the parts against other libraries, by turns in one process: medians and their ratio.

python tools/benchmark.py step loss postprocess --against torchvision
python tools/benchmark.py evaluation                VOC's metric, and COCO's by both evaluators
python tools/benchmark.py pipeline --data.format coco --data.root FOLDER --data.train_split NAME
python tools/benchmark.py deploy                    exported detectors in every runtime, on the CPU
python tools/benchmark.py gpu                       all figures of one GPU; see gpu --help
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

from benchmarks.checking import benchmark_checking
from benchmarks.compare import machine
from benchmarks.deploying import benchmark_deploy
from benchmarks.detecting import benchmark_evaluation, benchmark_postprocess
from benchmarks.feeding import benchmark_feeding
from benchmarks.gpu.command import main as benchmark_gpu
from benchmarks.pipeline import benchmark_pipeline
from benchmarks.ranks import benchmark_ranks
from benchmarks.training import SSD300, benchmark_loss, benchmark_step
from benchmarks.waits import benchmark_waits
from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.model.device import choose_device


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns the exit status."""
    if arguments[:1] == ["gpu"]:
        return benchmark_gpu(arguments[1:])
    flags = parse(arguments)
    if min(flags.rounds, flags.batch_size) < 1:
        raise UserError("--rounds and --batch-size have to be at least 1")
    parts = {flags.parts} if isinstance(flags.parts, str) else set(flags.parts)
    device = choose_device(flags.device)
    against = flags.against is not None
    print(machine(device), flush=True)
    batch_size, rounds = flags.batch_size, flags.rounds
    data = DataConfig(
        **{
            name.removeprefix("data."): value
            for name, value in vars(flags).items()
            if name.startswith("data.")
        }
    )
    benchmarks: list[tuple[str, Callable[[], Iterable[object]]]] = [
        ("loss", lambda: benchmark_loss(against, 3 * rounds, device)),
        ("postprocess", lambda: benchmark_postprocess(against, rounds, device)),
        ("step", lambda: benchmark_step(against, batch_size, rounds, device)),
        ("step", lambda: benchmark_ranks(SSD300, batch_size, rounds, device)),
        ("evaluation", lambda: benchmark_evaluation(1)),
        ("pipeline", lambda: benchmark_pipeline(data, batch_size, rounds)),
        ("pipeline", lambda: benchmark_feeding(data, batch_size, rounds, device)),
        ("check", lambda: benchmark_checking(data, rounds)),
    ]
    if "deploy" in parts:  # takes long, so `all` leaves it out
        benchmarks.append(("deploy", lambda: benchmark_deploy(rounds)))
    if device.type == "cuda":
        benchmarks.append(("step", lambda: [benchmark_waits(SSD300, batch_size, device)]))
    for name, benchmark in benchmarks:
        if {name, "all"} & parts:
            for line in benchmark():
                print(line, flush=True)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags that were given, with their defaults."""
    parser = argparse.ArgumentParser(
        prog="tools/benchmark.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        default="all",
        choices=["step", "loss", "postprocess", "evaluation", "pipeline", "check", "deploy", "all"],
        help="step: a training step of SSD300-VGG16, on one rank and on several; loss: matching "
        "and loss alone; postprocess: from predictions to detections; evaluation: from detections "
        "to AP, some minutes; pipeline: from image files to batches, beside torchvision and "
        "Albumentations, and what a training step waits for them; check: ssd check beside "
        "decoding every image once; deploy: from JPEG files to boxes in every runtime, "
        "a quarter of an hour (default: all but deploy)",
    )
    parser.add_argument("--against", choices=["torchvision"], help="measure it beside ours")
    parser.add_argument("--batch-size", type=int, default=8, help="images of a step (default: 8)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default: 5)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--data.format", default="shapes", choices=["voc", "coco", "shapes"], help="of the images"
    )
    parser.add_argument("--data.root", default=DataConfig.root, help="their folder")
    parser.add_argument("--data.train_split", default=DataConfig.train_split, help="part of them")
    parser.add_argument(
        "--data.workers", type=int, default=2, help="processes that decode them (default: 2)"
    )
    parser.add_argument(
        "--data.cache",
        default="none",
        choices=["none", "host", "device"],
        help="where the step on the pipeline keeps decoded images",
    )
    return parser.parse_args(arguments)
