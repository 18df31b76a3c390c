"""Reads lists of images: one image a line, in any encoding of Unicode, with or without columns."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import read_regular

LARGEST_LIST = 1 << 28  # bytes


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8 or UTF-16, without outer spaces and empty lines.

    Raises:
        UserError: it cannot be read, or has no such line.
    """
    try:
        data = read_regular(path, LARGEST_LIST)
        lines = [line.strip() for line in data.decode(utf_of(data)).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read as text ({one_line(error)}): save it as UTF-8"
        ) from error
    if not any(lines):
        raise UserError(f"{path}: lists no image: write one a line, or name another list")
    return [line for line in lines if line]


def utf_of(data: bytes) -> str:
    """The encoding of a text by its first bytes, of which one of UTF-16 is zero: names are ASCII.

    That is also right for XML, which starts with "<".
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if data[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if data[:1] == b"\0" else "utf-8-sig"


def without_columns(lines: list[str], image_of: Callable[[str], Hashable | None]) -> list[str]:
    """The names in a list whose lines may have further columns, such as the 1 and -1 of VOC.

    Names may have spaces, so the list is read in three ways: without columns, with one column
    after the name, and with names of one word. The way that names most images is taken.

    Args:
        lines: not empty.
        image_of: returns the image of a name, or None.
    """
    ways = [lines]
    if any(len(line.split(maxsplit=1)) > 1 for line in lines):
        ways += [
            [line.rsplit(maxsplit=1)[0] for line in lines],
            [line.split(maxsplit=1)[0] for line in lines],
        ]

    def images(names: list[str]) -> int:
        return len({image_of(name) for name in names} - {None})

    return max(ways, key=images) if len(ways) > 1 else lines
