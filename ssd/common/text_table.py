"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

Cells = Sequence[str]


def text_table(header: Cells, rows: Sequence[Cells], total: Cells | None = None) -> str:
    """A table with its first column left-aligned, the others right-aligned, and the total last."""
    below = [] if total is None else [total]
    widths = [max(map(len, column)) for column in zip(header, *rows, *below, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    first, *lines = [
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])])
        for cells in (header, *rows, *below)
    ]
    if total is not None:
        lines.insert(-1, rule)
    return "\n".join([first, rule, *lines])
