"""The image that stands in for an unreadable one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ssd.common.errors import UserError
from ssd.common.words import counted

Image = TypeVar("Image")


def first_readable(
    wanted: int, count: int, read: Callable[[int], Image]
) -> tuple[int, Image, list[str]]:
    """Reads the wanted image, or the next readable one after it; the first follows the last.

    Args:
        wanted: its index.
        count: number of images.
        read: reads the image of an index; raises a UserError for an unreadable one.

    Returns:
        The index of the image that was read, the image, and a line for each unreadable image that
        was passed over.

    Raises:
        UserError: no image can be read.
    """
    problems: list[str] = []
    for step in range(count):
        index = (wanted + step) % count
        try:
            return index, read(index), problems
        except UserError as error:
            problems.append(str(error))
    raise UserError(f"none of {counted(count, 'image')} is readable; {problems[0]}")
