"""Exports the weights of a run for torchvision's ssd300_vgg16.

    python tools/export.py runs/mine --out model.pth

Writes a state_dict and prints the Python lines that load it in torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from ssd.common.errors import UserError
from ssd.config.flags import HelpFormatter, parse
from ssd.detect.export import export

USAGE = "tools/export.py RUN_DIR|CHECKPOINT --out FILE.pth"


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
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
