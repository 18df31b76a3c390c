"""Hands what a run has learned to torchvision's ssd300_vgg16.

    python tools/export.py runs/mine --out model.pth

Writes a state_dict, and prints the Python lines with which it loads there.
"""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from ssd.cli import HelpFormatter, parse, run
from ssd.errors import UserError
from ssd.training.export import export

USAGE = "tools/export.py RUN_DIR|CHECKPOINT --out FILE.pth"


def main(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(
        prog="tools/export.py",
        usage=USAGE,
        description=__doc__,
        formatter_class=HelpFormatter,
        exit_on_error=False,
    )
    parser.add_argument("run", nargs="?", type=str, help="run folder or checkpoint folder")
    parser.add_argument("--out", type=str, help="the file to write, which ends in .pth")
    flags = parse(parser, arguments)
    if flags.get("run") is None or flags.get("out") is None:
        raise UserError(f"a run and a file to write are needed: {USAGE}")
    print(export(Path(flags["run"]), Path(flags["out"])))
    return 0


if __name__ == "__main__":
    run(main)
