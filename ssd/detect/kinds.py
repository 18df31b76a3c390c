"""Tells pictures, videos, live sources and standard input apart, by what the user has given."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from ssd.common.errors import UserError
from ssd.data.names import IMAGE_SUFFIXES

Kind = Literal["picture", "video", "live", "piped"]
STANDARD_INPUT = "-"
CAMERA = "camera:"
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".vob", ".ts"}
    | {".m2ts", ".mts", ".flv", ".wmv", ".asf", ".ogv", ".mjpeg", ".mjpg", ".ivf", ".mxf"}
)
# Of containers: MP4 and QuickTime, AVI, Matroska and WebM, FLV, ASF, Ogg, MPEG.
VIDEO_STARTS = re.compile(
    rb"....(ftyp|moov|mdat|wide)|RIFF....AVI |\x1aE\xdf\xa3|FLV\x01|0&\xb2u\x8ef\xcf\x11|OggS"
    rb"|\x00\x00\x01[\xba\xb3]",
    re.DOTALL,
)


def is_live(word: str) -> bool:
    """Returns whether a word of the command line is a camera or an address."""
    return word.startswith(CAMERA) or "://" in word


def kind_of_file(path: Path) -> Kind:
    """A file is a video by its name, or by its first bytes if the name says nothing."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    if suffix in IMAGE_SUFFIXES or not path.is_file():
        return "picture"
    with path.open("rb") as file:
        return "video" if VIDEO_STARTS.match(file.read(16)) else "picture"


def name_of_live(word: str) -> str:
    """A name for files, such as `camera_0` or `host_path`; no password gets into it."""
    if word.startswith(CAMERA):
        text = word
    else:
        parts = _parts(word)
        text = f"{parts.hostname or ''}{os.path.splitext(parts.path)[0]}"
    return re.sub(r"[^\w.-]+", "_", text).strip("_.") or "stream"


def shown_address(word: str) -> str:
    """A live source as messages name it: without user, password and query."""
    if word.startswith(CAMERA):
        return word
    parts = _parts(word)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _parts(word: str) -> SplitResult:
    try:
        return urlsplit(word)
    except ValueError as error:
        raise UserError(f"an address among the sources is none: {error}") from error
