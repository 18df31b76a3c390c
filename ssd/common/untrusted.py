"""Reads untrusted files and checks their values, with short errors.

The checks raise ValueErrors, and the code that reads the file adds the location of the value. The
limits are far above what data sets have and far below what does harm: V3Det has 13,204 classes,
and aerial pictures have a few thousand objects.
"""

from __future__ import annotations

import errno
import json
import math
import re
import reprlib
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssd.common.errors import UserError

LONGEST_NAME = 200
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LARGEST_COORDINATE = 1e9
MAX_PIXELS = 100_000_000
MOST_CLASSES = 20_000
MOST_OBJECTS = 5_000
LARGEST_LOG = 2**29  # bytes


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The bytes of a regular file; anything else is refused, since a pipe might never end.

    Raises:
        OSError: it cannot be read, is not a regular file, or has more than `most` bytes.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if most is not None and found.st_size > most:
        raise OSError(errno.EFBIG, f"it has {found.st_size} bytes, but at most {most} are allowed")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: it cannot be read or is not JSON.
    """
    try:
        return json.loads(read_regular(path))
    except OSError as problem:
        raise UserError(f"{path}: cannot be read ({problem.strerror}): correct the path") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply: write the file anew") from None
    except ValueError as problem:
        raise UserError(f"{path}: is not JSON ({problem}): write the file anew") from None


def required(entry: Any, *fields: str) -> list[Any]:
    """The values of `fields`, all of which have to be there."""
    if not isinstance(entry, dict):
        raise ValueError(f"is {short(entry)}, but has to be an object")
    for field in fields:
        if field not in entry:
            raise ValueError(f"has no {field}")
    return [entry[field] for field in fields]


def as_whole(field: str, value: Any, least: int) -> int:
    """Returns `value` if it is a whole number from `least` that fits into 64 bits."""
    if type(value) is int and least <= value < 2**63:
        return value
    raise ValueError(f"{field} is {short(value)}, but has to be a whole number from {least}")


def as_number(field: str, value: Any) -> float:
    """Returns `value` as a float if it is a finite number."""
    if type(value) in (int, float) and abs(value) < math.inf:
        try:
            return float(value)
        except OverflowError:
            pass
    raise ValueError(f"{field} holds {short(value)} where a finite number is required")


def check_pixels(width: int, height: int, most: int = MAX_PIXELS) -> None:
    """Raises a ValueError if the size in a header or an annotation is above `most` pixels."""
    if width * height > most:
        allowed = f"at most {most} pixels are allowed: make it smaller, or cut it into tiles"
        raise ValueError(f"image is {width}x{height}, but {allowed}")


def as_box(value: Any) -> list[float]:
    """Returns `value` if it is a box of four numbers in pixels: x, y, width, height."""
    if isinstance(value, list) and len(value) == 4:
        numbers = [as_number("bbox", side) for side in value]
        if max(map(abs, numbers)) <= LARGEST_COORDINATE:
            return numbers
    raise ValueError(f"bbox is {short(value)}, but has to be [x, y, width, height]")


def as_name(field: str, value: Any) -> str:
    """Returns a text of 1 to `LONGEST_NAME` characters on one line, without outer spaces.

    Control characters are refused: names are printed, and a terminal obeys them.
    """
    short_text = isinstance(value, str) and len(value) <= LONGEST_NAME
    text = " ".join(value.split()) if short_text else ""
    if not text or not is_unicode(text) or CONTROL.search(text):
        rule = f"a string of 1 to {LONGEST_NAME} characters, none of which controls a terminal"
        raise ValueError(f"{field} is {short(value)}, but has to be {rule}")
    return text


def is_unicode(text: str) -> bool:
    """Returns whether a text can be encoded: JSON and YAML can hold half of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def short(value: object) -> str:
    """One line that shows `value`, shortened if it is long."""
    shortener = reprlib.Repr()
    shortener.maxstring = 80
    return shortener.repr(value)


def shown(names: Sequence[str], most: int = 8) -> str:
    """The first `most` names, on one line."""
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")
