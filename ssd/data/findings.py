"""Problems in data files: training stops at a broken entry, a data check collects them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ssd.common.errors import UserError


class Findings(Protocol):
    """Receives the problems that a reader finds.

    `broken` is for entries that training cannot handle: if it returns, the reader leaves the entry
    out. `unusable` is for images without which training can go on: the reader leaves them out,
    and `load_data` decides whether they are too many. `repaired` is for entries with a fault that
    leaves no doubt about their meaning. `odd` is for entries that the reader's rules handle, but
    that a user may want to look at.
    """

    def broken(self, kind: str, message: str) -> None:
        """Takes a problem that has to be fixed."""

    def unusable(self, kind: str, message: str) -> None:
        """Takes an image that is left out."""

    def repaired(self, kind: str, message: str) -> None:
        """Takes an entry that was mended."""

    def odd(self, kind: str, message: str) -> None:
        """Takes something that is worth a look."""


@dataclass(frozen=True)
class Finding:
    """One finding: its kind in a few words, and one line that says where and what it is."""

    kind: str
    is_broken: bool
    message: str


class Refuse:
    """Stops at the first broken entry, and keeps the images that are left out in `left_out`."""

    def __init__(self) -> None:
        self.left_out: list[Finding] = []

    def broken(self, kind: str, message: str) -> None:
        """Raises a UserError."""
        raise UserError(message)

    def unusable(self, kind: str, message: str) -> None:
        """Adds an image that is left out."""
        self.left_out.append(Finding(kind, True, message))

    def repaired(self, kind: str, message: str) -> None:
        """Does nothing: the reader counts it."""

    def odd(self, kind: str, message: str) -> None:
        """Does nothing: the reader counts it."""


class Collect:
    """Collects all findings."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def broken(self, kind: str, message: str) -> None:
        """Adds a problem that has to be fixed."""
        self.findings.append(Finding(kind, True, message))

    def unusable(self, kind: str, message: str) -> None:
        """Adds an image that is left out."""
        self.findings.append(Finding(kind, True, message))

    def repaired(self, kind: str, message: str) -> None:
        """Adds an entry that was mended."""
        self.findings.append(Finding(kind, False, message))

    def odd(self, kind: str, message: str) -> None:
        """Adds something that is worth a look."""
        self.findings.append(Finding(kind, False, message))


def repairs_line(repairs: Mapping[str, int]) -> str:
    """The mended entries, the most frequent kind first: `12 size missing, 3 corners swapped`."""
    most = sorted(repairs.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {kind}" for kind, count in most)
