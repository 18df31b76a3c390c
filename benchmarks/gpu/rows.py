"""The types that parts of the benchmark yield and take; importing them does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

Known = dict[str, float]
"""The numbers of all rows so far, by their names."""


@dataclass(frozen=True)
class Row:
    """One measured number.

    Attributes:
        what: its name, which no other row has.
        number: its value.
        unit: its unit; empty for a count.
        details: what belongs to it, for the reader.
    """

    what: str
    number: float
    unit: str
    details: str = ""

    def __str__(self) -> str:
        """The row in a line."""
        return f"{self.what:<48} {figure(self.number)} {self.unit}   {self.details}".rstrip()


@dataclass(frozen=True)
class Note:
    """A part that was not measured to its end, and why."""

    part: str
    reason: str

    def __str__(self) -> str:
        """The note in a line."""
        return f"{self.part}: {self.reason}"


@dataclass(frozen=True)
class Options:
    """The choices of the user.

    Attributes:
        format: of the pipeline's images, as `data.format`.
        root: the folder of the images; empty for pictures drawn for the purpose.
        train_split: as `data.train_split`.
        workers: processes that decode.
        folder: a folder for files, shared by all processes of a benchmark.
    """

    format: str
    root: str
    train_split: str
    workers: int
    folder: str


Measure = Callable[[Options, Known], Iterator[Row]]


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Attributes:
        limit: seconds that it may take; far more than it needs.
        measure: yields rows as it measures them.
    """

    limit: float
    measure: Measure


def figure(number: float) -> str:
    """A number with three digits, or all of those before the point."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
