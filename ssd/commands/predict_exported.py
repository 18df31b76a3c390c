"""`ssd predict` with an exported file: by the standard library's parser, and without PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ssd.commands.exported import TRUST, refuse_trust
from ssd.commands.predict_flags import (
    FLAGS,
    SOURCES,
    SOURCES_MEANING,
    STOPPING,
    status_of,
    to_order,
)
from ssd.common.errors import UserError
from ssd.common.untrusted import is_unicode
from ssd.deploy.guard import guard
from ssd.deploy.predict import predict_exported
from ssd.training.signals import Signals

USAGE = (
    "ssd predict MODEL.onnx|MODEL.xml|MODEL.pt2 SOURCE … [--out DIR] [--min-score SCORE]\n"
    "                   [--trust] [--help for more]"
)


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    parser = Parser(usage=USAGE, allow_abbrev=False)
    parser.add_argument("file", type=Path, help="a file of `ssd export`")
    parser.add_argument("sources", metavar=SOURCES, nargs="*", help=SOURCES_MEANING)
    for flag in FLAGS:
        names = dict.fromkeys([flag.name, "--" + flag.name[2:].replace("-", "_")])
        if flag.kind is bool:
            parser.add_argument(*names, action="store_true", help=flag.meaning)
        else:
            value = {"type": flag.kind, "metavar": flag.value.split(" ")[0], **flag.more}
            parser.add_argument(*names, help=flag.meaning, **value)
    parser.add_argument("--trust", action="store_true", help=TRUST)
    flags, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        raise UserError(f"{unknown[0]} has no effect on an exported file: leave it out")
    if flags.trust:
        refuse_trust(flags.file)
    if not flags.sources:
        raise UserError(f"at least one image is needed: {USAGE}")
    if flags.out is not None and not is_unicode(flags.out):
        raise UserError(f"--out is {flags.out!r}, which is not UTF-8: give another name")
    guard()
    with Signals(STOPPING) as signals:
        predicted = predict_exported(flags.file, to_order(vars(flags), signals), None, flags.trust)
        return status_of(predicted, signals)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are of this project."""

    def error(self, message: str) -> NoReturn:
        """Raises a UserError."""
        raise UserError(f"{message}: {USAGE}")
