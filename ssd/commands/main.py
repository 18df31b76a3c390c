"""The command `ssd`: the name of a command, and then what that takes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from ssd.commands.exported import first_word, is_exported, needs_data
from ssd.commands.quiet import quiet_libraries
from ssd.commands.status import run
from ssd.commands.waits import shorten_waits
from ssd.common.errors import UserError
from ssd.config.completion import command_on_line, is_asked

COMMANDS = {
    "train": "train a detector",
    "evaluate": "measure how well a detector, or a file of detections, finds objects",
    "predict": "find objects in pictures, videos and streams",
    "check": "check a data set before training",
    "spikes": "explain a loss that spikes once per epoch, or see it happen",
    "export": "write the detector as an ONNX file, or its weights for torchvision",
    "compare": "set the results of several runs side by side",
    "recipes": "list the configs that come with the framework",
}
HELP = """\
usage: ssd COMMAND …

Trains SSD object detectors with a loss that never spikes at a short last batch.

{commands}

    ssd train                                    the quickstart: a few minutes on two CPU cores
    ssd train custom_voc --data.root FOLDER --out runs/mine
    ssd predict runs/mine photo.jpg

`ssd COMMAND --help` explains a command, `ssd COMMAND --help all` every setting of it. The same
from Python: see docs/api.md."""


def main(arguments: Sequence[str]) -> int:
    """Runs the command that the first argument names; returns the exit status.

    Raises:
        UserError: there is no such command.
    """
    if is_asked():
        arguments = [command_on_line(list(COMMANDS))]
    name, *others = arguments or ["--help"]
    if name == "help" and others:
        name, others = others[0], ["--help"]
    if name in ("-h", "--help", "help"):
        lines = (f"  {command:<10}{meaning}" for command, meaning in COMMANDS.items())
        print(HELP.format(commands="\n".join(lines)))
        return 0
    if name == "--version":
        from importlib.metadata import version

        print(version("ssd-trainer"))
        return 0
    if name not in COMMANDS:
        import difflib

        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
        raise UserError(f"there is no command {name}: {hint}")
    if name in ("predict", "evaluate") and is_exported(others):
        if name == "predict" and not needs_data(others):
            name = "predict_exported"
        if sys.platform == "linux":
            from ssd.commands.outlive import outlive

            return outlive(lambda: run(lambda _: imported(name, others)), first_word(others))
    return imported(name, others)


def imported(name: str, arguments: Sequence[str]) -> int:
    """Runs the command of a module; returns the exit status."""
    shorten_waits()  # the command imports PyTorch
    quiet_libraries()
    try:
        command = importlib.import_module(f"ssd.commands.{name}")
    except ModuleNotFoundError as error:  # an exported file is predicted with without most packages
        raise UserError(f"{name} needs {error.name}, which is not installed") from error
    status: int = command.main(arguments)
    return status


def ssd() -> None:
    """The entry point of `ssd`."""
    run(main)


def door(name: str) -> None:
    """The entry point of a tool that stands for one command."""
    run(lambda arguments: main([name, *arguments]))
