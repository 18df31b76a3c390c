"""What readers say of the files: training stops at what is broken, a check writes it all down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ssd.common.errors import UserError


class Findings(Protocol):
    """Whom a reader tells.

    `broken` is what training cannot cope with: where it returns, the reader leaves the thing out.
    `odd` is what training copes with, by the reader's rules, but somebody may want to know.
    """

    def broken(self, kind: str, message: str) -> None:
        """Takes what has to be mended."""

    def odd(self, kind: str, message: str) -> None:
        """Takes what is worth a look."""


class Refuse:
    """Stops at the first thing that is broken."""

    def broken(self, kind: str, message: str) -> None:
        """Raises a UserError."""
        raise UserError(message)

    def odd(self, kind: str, message: str) -> None:
        """Says nothing: the reader counts it."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found: a few words of its kind, and one line of where and what."""

    kind: str
    is_broken: bool
    message: str


class Collect:
    """Writes everything down."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def broken(self, kind: str, message: str) -> None:
        """Adds what has to be mended."""
        self.findings.append(Finding(kind, True, message))

    def odd(self, kind: str, message: str) -> None:
        """Adds what is worth a look."""
        self.findings.append(Finding(kind, False, message))
