"""Files that others wrote, and their values: what is wrong with one is told in a few words.

The functions raise ValueErrors; whoever reads the file adds where the value stands. The limits
are far above what data sets have, and far below what harms: V3Det has 13,204 classes, aerial
pictures have some thousand objects.
"""

from __future__ import annotations

import errno
import json
import math
import reprlib
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssd.common.errors import UserError

LONGEST_NAME = 200
LARGEST_COORDINATE = 1e9
MAX_PIXELS = 100_000_000
MOST_CLASSES = 20_000
MOST_OBJECTS = 5_000


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The bytes of a regular file: a pipe or a device might never end.

    Raises:
        OSError: it cannot be read, is of another kind, or has more than `most` bytes.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if most is not None and found.st_size > most:
        raise OSError(errno.EFBIG, f"it has {found.st_size} bytes, more than {most} are refused")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: it cannot be read or is not JSON.
    """
    try:
        return json.loads(read_regular(path))
    except OSError as problem:
        raise UserError(f"{path}: cannot be read ({problem.strerror})") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply") from None
    except ValueError as problem:
        raise UserError(f"{path}: is not JSON ({problem})") from None


def required(entry: Any, *fields: str) -> list[Any]:
    """The values of the fields, which all have to be there."""
    if not isinstance(entry, dict):
        raise ValueError(f"is {short(entry)}, but has to be an object")
    for field in fields:
        if field not in entry:
            raise ValueError(f"has no {field}")
    return [entry[field] for field in fields]


def as_whole(field: str, value: Any, least: int) -> int:
    """A whole number from `least` that fits into 64 bits."""
    if type(value) is int and least <= value < 2**63:
        return value
    raise ValueError(f"{field} is {short(value)}, but has to be a whole number from {least}")


def as_number(field: str, value: Any) -> float:
    """A finite number."""
    if type(value) in (int, float) and abs(value) < math.inf:
        try:
            return float(value)
        except OverflowError:
            pass
    raise ValueError(f"{field} holds {short(value)} where a finite number has to be")


def check_pixels(width: int, height: int) -> None:
    """Refuses an image of more than `MAX_PIXELS`, be it by its header or its annotation."""
    if width * height > MAX_PIXELS:
        size = f"{width}x{height}"
        raise ValueError(f"image is {size}, more than {MAX_PIXELS} pixels are refused")


def as_box(value: Any) -> list[float]:
    """Four numbers of pixels: x, y, width, height."""
    if isinstance(value, list) and len(value) == 4:
        numbers = [as_number("bbox", side) for side in value]
        if max(map(abs, numbers)) <= LARGEST_COORDINATE:
            return numbers
    raise ValueError(f"bbox is {short(value)}, but has to be [x, y, width, height]")


def as_name(field: str, value: Any) -> str:
    """A text of 1 to `LONGEST_NAME` characters, on one line, without the spaces around it."""
    short_text = isinstance(value, str) and len(value) <= LONGEST_NAME
    text = " ".join(value.split()) if short_text else ""
    if not text or not is_unicode(text):
        rule = f"a text of 1 to {LONGEST_NAME} characters"
        raise ValueError(f"{field} is {short(value)}, but has to be {rule}")
    return text


def is_unicode(text: str) -> bool:
    """Whether a text can be written: JSON and YAML can spell half of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def short(value: object) -> str:
    """One line that shows `value`, cut where it is long."""
    shortener = reprlib.Repr()
    shortener.maxstring = 80
    return shortener.repr(value)


def shown(names: Sequence[str], most: int = 8) -> str:
    """The first names of many, on one line."""
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")
