"""Tells an exported file on the command line from a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SUFFIXES = (".onnx", ".pt2")


def is_exported(arguments: Sequence[str]) -> bool:
    """Returns whether the first argument without dashes names an exported file."""
    first = next((word for word in arguments if not word.startswith("-")), "")
    return first.endswith(SUFFIXES) and not Path(first).is_dir()


def needs_data(arguments: Sequence[str]) -> bool:
    """Returns whether ground truth is to be shown: what reads it needs all packages."""
    return any(word in ("--show-truth", "--show_truth") for word in arguments)
