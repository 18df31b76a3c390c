"""Tells by the structure of a video file whether its end is there.

The number of frames does not tell: editors leave frames in a file that are not to be shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

MOVIE_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
MATROSKA, SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"


def is_whole(path: Path) -> bool | None:
    """Returns whether all of an MP4, QuickTime, AVI, Matroska or WebM file is there.

    It is None for other files, and for those that do not tell how long they are.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(12)
        if first[4:8] in MOVIE_BOXES:
            return _is_whole_movie(file, end)
        if first[:4] == b"RIFF" and first[8:12] == b"AVI ":
            length = int.from_bytes(first[4:8], "little")
            return length + 8 <= end if length else None
        if first[:4] == MATROSKA:
            return _is_whole_matroska(file, end)
    return None


def _is_whole_movie(file: BinaryIO, end: int) -> bool:
    """Returns whether the boxes of an MP4 or QuickTime file are all there."""
    at, seen = 0, set()
    while at < end:
        file.seek(at)
        header = file.read(16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        seen.add(kind)
        if size == 1:  # the size is too large for four bytes, and follows
            size = int.from_bytes(header[8:16], "big")
        if size == 0:  # to the end of the file
            break
        if size < 8:
            return False
        at += size
    return at <= end and b"moov" in seen


def _is_whole_matroska(file: BinaryIO, end: int) -> bool | None:
    """Returns whether the segment, which is all of the file but a header, is all there."""
    file.seek(len(MATROSKA))
    header = _matroska_size(file)
    if header is None:
        return None
    file.seek(header, 1)
    if file.read(len(SEGMENT)) != SEGMENT:
        return None
    size = _matroska_size(file)
    return None if size is None else file.tell() + size <= end


def _matroska_size(file: BinaryIO) -> int | None:
    """A number of 1 to 8 bytes, which the leading zeros of the first count; None if unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    number = int.from_bytes(first + file.read(more), "big") & ((1 << 7 * (more + 1)) - 1)
    return None if number == (1 << 7 * (more + 1)) - 1 else number
