"""Problems in data files: training stops at a broken entry, a data check collects them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ssd.common.errors import UserError


class Findings(Protocol):
    """Receives the problems that a reader finds.

    `broken` is for entries that training cannot handle: if it returns, the reader leaves the entry
    out. `odd` is for entries that the reader's rules handle, but that a user may want to look at.
    """

    def broken(self, kind: str, message: str) -> None:
        """Takes a problem that has to be fixed."""

    def odd(self, kind: str, message: str) -> None:
        """Takes something that is worth a look."""


class Refuse:
    """Stops at the first broken entry."""

    def broken(self, kind: str, message: str) -> None:
        """Raises a UserError."""
        raise UserError(message)

    def odd(self, kind: str, message: str) -> None:
        """Does nothing: the reader counts it."""


@dataclass(frozen=True)
class Finding:
    """One finding: its kind in a few words, and one line that says where and what it is."""

    kind: str
    is_broken: bool
    message: str


class Collect:
    """Collects all findings."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def broken(self, kind: str, message: str) -> None:
        """Adds a problem that has to be fixed."""
        self.findings.append(Finding(kind, True, message))

    def odd(self, kind: str, message: str) -> None:
        """Adds something that is worth a look."""
        self.findings.append(Finding(kind, False, message))
