"""Runs the benchmarks; see `benchmarks/command.py`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ssd.commands.status import run
from ssd.commands.waits import shorten_waits


def main(arguments: Sequence[str]) -> int:
    shorten_waits()  # as for a command of `ssd`
    sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not part of the package
    from benchmarks.command import main

    return main(arguments)


if __name__ == "__main__":
    run(main)
