"""Writes what was measured as a Markdown table between two marks in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.gpu.bars import Bar
from benchmarks.gpu.rows import Note, Row, figure
from ssd.common.errors import UserError
from ssd.common.files import write_whole

BEGIN, END = "<!-- gpu figures: begin -->", "<!-- gpu figures: end -->"
HEAD = "| | measured | bar | reached | details |\n|---|---|---|---|---|"


def table(head: str, command: str, told: Sequence[Row | Note], bars: Mapping[str, Bar]) -> str:
    """The table, below the machine and the command, and above what is missing."""
    rows = [table_row(row, bars.get(row.what)) for row in told if isinstance(row, Row)]
    missing = [f"- `{note}`" for note in told if isinstance(note, Note)]
    parts = [head, f"```sh\n{command}\n```", "\n".join([HEAD, *rows])]
    return "\n\n".join(
        [*parts, *(["Not measured to the end:", "\n".join(missing)] if missing else [])]
    )


def table_row(row: Row, bar: Bar | None) -> str:
    """A line of the table."""
    measured = f"**{figure(row.number)}** {row.unit}".rstrip()
    reached = "" if bar is None else "yes" if bar.is_reached(row.number) else "**no**"
    cells = row.what, measured, bar or "", reached, row.details
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def write_table(file: Path, text: str) -> None:
    """Puts the text between the marks of a file, which is made if there is none.

    Raises:
        UserError: the file has no such marks.
    """
    before, after = around(file)
    write_whole(file, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def around(file: Path) -> tuple[str, str]:
    """The text of a file before and after the marks.

    Raises:
        UserError: the file has no such marks.
    """
    whole = file.read_text(encoding="utf-8") if file.exists() else f"{BEGIN}{END}\n"
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(
            f"--out {file} has no lines {BEGIN} and {END} to write between: "
            "add them, or give a file that does not exist"
        )
    return before, after
