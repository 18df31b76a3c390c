"""A size in pixels or positions: one number for a square, else height and width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Size = int | Sequence[int]
Number = TypeVar("Number", int, float)


def both(size: Number | Sequence[Number]) -> tuple[Number, Number]:
    """The height and the width."""
    if isinstance(size, int | float):
        return size, size
    height, width = size
    return height, width


def one_or_both(height: Number, width: Number) -> Number | tuple[Number, Number]:
    """The shortest form of a size."""
    return height if height == width else (height, width)


def in_words(size: Size) -> str:
    """`300` or, of height and width, `256x512`."""
    return "x".join(map(str, dict.fromkeys(both(size))))
