"""Stopping in order: the first SIGTERM or Ctrl-C ends the run after the step, saved.

A second one ends it at once.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

STOPPED_BY_SIGNAL = 143


class StopSignal:
    """Watches for SIGTERM and SIGINT while it is entered; `requested` says whether one came."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> StopSignal:
        """Takes the two signals over."""
        self._previous = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gives them back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise SystemExit(STOPPED_BY_SIGNAL)
        self.requested = True
