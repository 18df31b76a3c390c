"""The headers of many image files, read before any of them is decoded.

They are kept in a file of the run folder, so that a resumed run does not read them again. An image
whose size or time of change is not that in the file is looked at again, and so is one that was
unreadable.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.common.untrusted import check_pixels, read_json
from ssd.data.exif import TURNS
from ssd.data.image import LARGEST_FILE, header_of, read_file, read_image
from ssd.data.image_header import Header, read_header
from ssd.data.threads import in_threads

THREADS = 16  # they wait for the storage
BAR_AFTER = 2  # seconds

# path → size in bytes, time of change in ns, width, height, orientation
Kept = dict[str, list[int]]


def read_headers(paths: Sequence[Path], kept: Path | None = None) -> list[Header | UserError]:
    """The header of each image file, or what makes it unreadable as far as its header tells.

    An image of more than 8 bits is decoded, since its header does not tell whether it can be shown
    in 8 bits. Ctrl-C waits for a few images alone.

    Args:
        paths: the image files.
        kept: the file that keeps the headers; None to keep nothing.
    """
    before = {} if kept is None else _read_kept(kept)
    rows: Kept = {}
    found = in_threads(
        lambda path: _look(path, before, rows), paths, THREADS, "looking at images", BAR_AFTER
    )
    if kept is not None and not rows.items() <= before.items():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, json.dumps(before | rows))
    return found


def _look(path: Path, before: Mapping[str, list[int]], rows: Kept) -> Header | UserError:
    """The header of an image file, which is added to `rows`, or its error."""
    try:
        state = path.stat()
        known = before.get(str(path))
        if known is not None and known[:2] == [state.st_size, state.st_mtime_ns]:
            rows[str(path)] = known
            width, height, orientation = known[2:]
            return Header(width, height, orientation)
        header = _read(path, state.st_mode, state.st_size)
    except OSError as error:
        return UserError(f"{path}: the image cannot be opened ({error.strerror})")
    except UserError as error:
        return error
    except ValueError as error:
        return UserError(f"{path}: {error}")
    size = header.width, header.height
    rows[str(path)] = [state.st_size, state.st_mtime_ns, *size, header.orientation]
    return header


def _read(path: Path, mode: int, size: int) -> Header:
    if not stat.S_ISREG(mode) or size > LARGEST_FILE:
        read_file(path)  # tells what is wrong
    with path.open("rb") as file:
        header = read_header(file)
    if header is None:
        header = header_of(read_file(path))
    check_pixels(header.width, header.height)
    if not header.is_whole:
        raise ValueError("image is cut off: its end marker is missing")
    if header.is_deep:
        read_image(path)
    return header


def _read_kept(path: Path) -> Kept:
    """The rows of the file that make sense; none if it is missing or broken."""
    try:
        content = read_json(path)
    except UserError:
        return {}
    rows = content.items() if isinstance(content, dict) else ()
    return {name: row for name, row in rows if _makes_sense(row)}


def _makes_sense(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != 5 or not all(type(one) is int for one in row):
        return False
    _, _, width, height, orientation = row
    try:
        check_pixels(width, height)
    except ValueError:
        return False
    return width > 0 and height > 0 and orientation in TURNS
