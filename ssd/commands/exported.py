"""Tells an exported file on the command line from a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError

SWITCHES = {"--trust", "--recursive", "--no-draw", "--show-truth", "--help", "-h"}
SUFFIXES = (".onnx", ".xml", ".pt2")

TRUST = "read a .pt2 file, which can run code: for files of one's own"


def is_exported(arguments: Sequence[str]) -> bool:
    """Returns whether the first argument that is no flag names an exported file."""
    first = first_word(arguments)
    return first.endswith(SUFFIXES) and not Path(first).is_dir()


def first_word(arguments: Sequence[str]) -> str:
    """The first argument that is neither a flag nor the value of one."""
    is_value = False
    for word in arguments:
        if word.startswith("-"):
            is_value = "=" not in word and word.replace("_", "-") not in SWITCHES
        elif is_value:
            is_value = False
        else:
            return word
    return ""


def needs_data(arguments: Sequence[str]) -> bool:
    """Returns whether ground truth is to be shown: what reads it needs all packages."""
    return any(word in ("--show-truth", "--show_truth") for word in arguments)


def refuse_trust(file: Path) -> None:
    """Raises a UserError if a file needs no trust."""
    if file.suffix != ".pt2":
        raise UserError(f"--trust has no effect on {file}, which can run no code: leave it out")
