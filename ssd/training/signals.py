"""What signals ask of a run: to stop in order, or to save and go on.

SIGTERM or SIGINT (Ctrl-C): stop after the step, saved; a second one ends the process at once.
SIGUSR1: save after the step, and go on.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

STOPPED_BY_SIGNAL = 143
STOPPING = (signal.SIGTERM, signal.SIGINT)
SAME_REQUEST_SECONDS = 2.0


class Stopped(BaseException):
    """Ends what a stop does not wait for. No Exception, lest someone on the way handles it."""


class Signals:
    """Watches for the signals while it is entered.

    Attributes:
        stop: whether the run has been asked to stop.
        save: whether it has been asked to save; whoever saves sets it back.
    """

    def __init__(self) -> None:
        self.stop = self.save = False
        self._interrupts = False
        self._asked_at = 0.0

    def __enter__(self) -> Signals:
        """Takes the signals over."""
        self._previous = {
            number: signal.signal(number, self._handle) for number in (*STOPPING, signal.SIGUSR1)
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

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within it, a signal to stop raises `Stopped`, at once; so does one that came before."""
        self._interrupts = True
        try:
            if self.stop:
                raise Stopped
            yield
        finally:
            self._interrupts = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self.save = True
            return
        if self.stop and not self._is_passed_on():
            os._exit(STOPPED_BY_SIGNAL)  # a save that hangs on a dead disk would hold up an exit
        self.stop, self._asked_at = True, time.monotonic()
        if self._interrupts:
            raise Stopped

    def _is_passed_on(self) -> bool:
        """Whether torchrun repeats what the terminal has sent to all its processes already."""
        repeated = time.monotonic() - self._asked_at < SAME_REQUEST_SECONDS
        return repeated and "TORCHELASTIC_RUN_ID" in os.environ
