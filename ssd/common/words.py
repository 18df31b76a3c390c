"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 image`, `1,726 images`, from the noun in the singular."""
    if number == 1:
        return f"1 {noun}"
    ending = "ies" if noun.endswith("y") else "es" if noun.endswith(("s", "x")) else "s"
    return f"{number:,} {noun.removesuffix('y') if ending == 'ies' else noun}{ending}"


def in_time(minutes: float) -> str:
    """12.3 → "about 12 minutes", 150 → "about 2 h 30 min"."""
    whole = max(1, round(minutes))
    if whole < 120:
        return f"about {counted(whole, 'minute')}"
    return f"about {whole // 60} h {whole % 60} min"
