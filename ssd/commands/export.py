"""`ssd export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config.flags import CHECKPOINT_FLAG, CommandLine

USAGE = "ssd export RUN_DIR|CHECKPOINT --out FILE.pth [--checkpoint best|last|STEP]"
DESCRIPTION = """
Exports the weights of a run for torchvision's ssd300_vgg16.

    ssd export runs/mine --out model.pth

Writes a state_dict and prints the Python lines that load it in torchvision.
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION)
    line.add("run", "RUN_DIR|CHECKPOINT", "run folder or checkpoint folder", nargs="?")
    line.add("--checkpoint", "best|last|STEP", CHECKPOINT_FLAG)
    line.add("--out", "FILE.pth", "the file to write, which is not there yet")
    flags = line.parse(arguments)
    if flags.get("run") is None or flags.get("out") is None:
        raise UserError(f"a run and a file to write are needed: {USAGE}")
    from ssd.detect.export import export

    lines, using = export(Path(flags["run"]), Path(flags["out"]), flags.get("own_checkpoint"))
    print(f"{lines}\n# {using}\nwritten: {flags['out']}")
    return 0
