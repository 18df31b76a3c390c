"""Measures all figures of one GPU, and writes them into docs/benchmarks.md, in at most 6 minutes.

python tools/benchmark.py gpu
python tools/benchmark.py gpu vgg16 torchvision --out figures.md
python tools/benchmark.py gpu --data.root coco128 --data.train_split train2017
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import signal
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torchvision

from benchmarks.gpu.bars import bars_for
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.processes import run_parts
from benchmarks.gpu.rows import Note, Options, Row
from benchmarks.gpu.table import around, table, write_table
from ssd.commands.status import INTERRUPTED
from ssd.common.errors import UserError
from ssd.common.machine import usable_cores
from ssd.data.num_workers import num_workers
from ssd.model.device import autocast_dtype

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "benchmarks.md"
COMMAND = [sys.executable, "-m", "benchmarks.gpu"]


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns the exit status."""
    flags = parse(arguments)
    check(flags)
    card = torch.cuda.get_device_name()
    told: list[Row | Note] = []
    head, bars = machine(card), bars_for(card)
    command = shlex.join(["python", "tools/benchmark.py", "gpu", *arguments])

    def tell(one: Row | Note) -> None:
        told.append(one)
        print(one, flush=True)
        write_table(flags.out, table(head, command, told, bars))  # now, in case of an early end

    print(head, flush=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that the process is ended too
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a compiler may go on
        set_up_processes(folder)
        options = Options(
            format=getattr(flags, "data.format"),
            root=getattr(flags, "data.root"),
            train_split=getattr(flags, "data.train_split"),
            workers=getattr(flags, "data.workers"),
            folder=folder,
        )
        parts = {name: part for name, part in PARTS.items() if name in (flags.parts or PARTS)}
        try:
            run_parts(parts, options, 60 * flags.minutes, COMMAND, tell)
        except KeyboardInterrupt:
            return INTERRUPTED
    print(f"written to {flags.out}")
    return 0


def check(flags: argparse.Namespace) -> None:
    """Refuses what could not be measured or written.

    Raises:
        UserError: there is no GPU, no such part or folder, or no place for the table.
    """
    if unknown := set(flags.parts) - set(PARTS):
        raise UserError(f"there is no part {min(unknown)}: take some of {', '.join(PARTS)}")
    root = getattr(flags, "data.root")
    if root and not Path(root).is_dir():
        raise UserError(f"--data.root {root} is not a folder: give that of the images")
    if flags.minutes <= 0 or getattr(flags, "data.workers") < 1:
        raise UserError("--minutes has to be above 0, and --data.workers at least 1")
    around(flags.out)
    if not torch.cuda.is_available():
        raise UserError("torch sees no CUDA device here: check the driver with nvidia-smi")


def machine(card: str) -> str:
    """The date, the machine and the versions, in a line."""
    try:
        import triton

        of_triton = f", triton {triton.__version__}"
    except ImportError:
        of_triton = ""
    precision = str(autocast_dtype("auto", torch.device("cuda"))).removeprefix("torch.")
    return (
        f"{date.today()} · {card}, {usable_cores()} cores · Python {platform.python_version()}, "
        f"torch {torch.__version__}, torchvision {torchvision.__version__}{of_triton} · "
        f"{precision}"
    )


def set_up_processes(folder: str) -> None:
    """Sets the environment of the processes that measure."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    # What one of them compiles, the next one finds; a cache from earlier would hide its time.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "compiled")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags that were given, with their defaults."""
    parser = argparse.ArgumentParser(
        prog="tools/benchmark.py gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"only these of {', '.join(PARTS)} (default: all of them, in this order)",
    )
    parser.add_argument(
        "--minutes", type=float, default=6, help="after them, no part goes on (default: 6)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=DOCS,
        help="file for the table, which replaces the one that is there (default: "
        "docs/benchmarks.md)",
    )
    parser.add_argument(
        "--data.format", default="coco", choices=["coco", "voc"], help="of --data.root"
    )
    parser.add_argument(
        "--data.root",
        default="",
        help="images for the pipelines, of which the first 512 are taken"
        " (default: pictures drawn for the purpose)",
    )
    parser.add_argument("--data.train_split", default="train2017", help="part of --data.root")
    parser.add_argument(
        "--data.workers",
        type=int,
        default=num_workers("auto", "cuda"),
        help="processes that decode (default: one fewer than cores, at most 16)",
    )
    return parser.parse_args(arguments)
