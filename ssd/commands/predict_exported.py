"""`ssd predict` with an exported file: by the standard library's parser, and without PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ssd.commands.exported import TRUST, refuse_trust
from ssd.common.errors import UserError
from ssd.common.untrusted import is_unicode
from ssd.deploy.guard import guard
from ssd.deploy.predict import predict_exported
from ssd.report.pictures import SHOWN_SCORE

USAGE = (
    "ssd predict MODEL.onnx|MODEL.xml|MODEL.pt2 IMAGE|FOLDER … [--recursive] [--out DIR]\n"
    "                   [--min-score SCORE] [--trust]"
)
FINE, INCOMPLETE = 0, 1


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    parser = Parser(usage=USAGE, allow_abbrev=False)
    parser.add_argument("file", type=Path, help="a file of `ssd export`")
    parser.add_argument("images", type=Path, nargs="*", help="images, and folders of images")
    parser.add_argument("--recursive", action="store_true", help="those of subfolders too")
    parser.add_argument("--out", default="predictions", help="where the results go")
    parser.add_argument(
        *("--min-score", "--min_score"), type=float, default=SHOWN_SCORE, help="lowest to show"
    )
    parser.add_argument("--trust", action="store_true", help=TRUST)
    flags, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        raise UserError(f"{unknown[0]} has no effect on an exported file: leave it out")
    if flags.trust:
        refuse_trust(flags.file)
    if not flags.images:
        raise UserError(f"at least one image is needed: {USAGE}")
    if not is_unicode(flags.out):
        raise UserError(f"--out is {flags.out!r}, which is not UTF-8: give another name")
    sources = [image.expanduser() for image in flags.images]
    guard()
    predicted = predict_exported(
        flags.file, sources, Path(flags.out), flags.min_score, flags.recursive, flags.trust
    )
    print(predicted.told)
    return INCOMPLETE if predicted.is_incomplete else FINE


class Parser(argparse.ArgumentParser):
    """A parser whose errors are of this project."""

    def error(self, message: str) -> NoReturn:
        """Raises a UserError."""
        raise UserError(f"{message}: {USAGE}")
