"""The flags of `ssd predict`, for runs and for exported files alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ssd.common.errors import UserError
from ssd.detect.predict_files import FORMATS, Order, Predicted
from ssd.report.pictures import SHOWN_SCORE
from ssd.training.signals import Signals

FINE, INCOMPLETE = 0, 1
STOPPING = "stopping after this image; once more ends at once, without results"
SOURCES = "SOURCE"
SOURCES_MEANING = "images, videos, folders, patterns, camera:0, addresses, or - for a pipe"


class Flag(NamedTuple):
    """A flag: its value in the help (empty for a switch), its meaning, its type and its number."""

    name: str
    value: str
    meaning: str
    kind: type = str
    more: Mapping[str, Any] = {}


FLAGS = (
    Flag("--recursive", "", "take the files of subfolders too", bool),
    Flag("--out", "DIR", "where the results go (default: predictions)"),
    Flag("--min-score", "SCORE", f"lowest score to show (default: {SHOWN_SCORE})", float),
    Flag("--max", "N", "most objects of an image, best first (default: all)", int),
    Flag(
        "--classes",
        "NAME …",
        "the classes to keep (default: all); after the SOURCEs",
        str,
        {"nargs": "+"},
    ),
    Flag("--no-draw", "", "write no pictures and videos", bool),
    Flag(
        "--write",
        "|".join([*FORMATS]) + " …",
        "write COCO's results, or data in the layout of VOC or YOLO, too; after the SOURCEs",
        str,
        {"nargs": "+"},
    ),
    Flag(
        "--show-truth",
        "",
        "draw the ground truth too; without a SOURCE, on all images of the evaluation data",
        bool,
    ),
)


def to_order(flags: Mapping[str, Any], signals: Signals) -> Order:
    """The order that the flags give.

    Raises:
        UserError: a value is impossible.
    """
    score, most = flags.get("min_score"), flags.get("max")
    score = SHOWN_SCORE if score is None else score
    formats = flags.get("write") or []
    if not 0 <= score <= 1:
        raise UserError(f"--min-score is {score}, but has to be at least 0 and at most 1")
    if most is not None and most < 1:
        raise UserError(f"--max is {most}, but has to be at least 1")
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"--write is {name}, but has to be some of {', '.join(FORMATS)}")
    return Order(
        given=flags.get("sources") or [],
        out=Path(flags.get("out") or "predictions"),
        min_score=score,
        recursive=bool(flags.get("recursive")),
        draw=not flags.get("no_draw"),
        classes=flags.get("classes") or [],
        most=most,
        formats=list(dict.fromkeys(formats)),
        is_stopped=lambda: signals.stop,
    )


def status_of(predicted: Predicted, signals: Signals) -> int:
    """Prints what was predicted; returns the exit status."""
    print(predicted.told)
    if signals.stop:
        return signals.status
    return INCOMPLETE if predicted.is_incomplete else FINE
