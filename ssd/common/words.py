"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 image`, `1,726 images`, from the noun in the singular."""
    if number == 1:
        return f"1 {noun}"
    ending = "ies" if noun.endswith("y") else "es" if noun.endswith(("s", "x")) else "s"
    return f"{number:,} {noun.removesuffix('y') if ending == 'ies' else noun}{ending}"
