"""Signals to a run: stop cleanly, or save and continue.

SIGTERM or SIGINT (Ctrl-C): save after the current step and stop. A second one goes to the handler
from before the run, which ends a command at once and raises KeyboardInterrupt in a program.
SIGUSR1: save after the current step and continue.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

STOPPED_BY_SIGNAL = 143
STOPPING = (signal.SIGTERM, signal.SIGINT)
SAME_REQUEST_SECONDS = 2.0


class Stopped(BaseException):
    """Interrupts long work. Not an `Exception`, so that no handler on the way catches it."""


class Signals:
    """Handles the signals while its context is entered.

    Attributes:
        stop: whether the run has been asked to stop.
        save: whether the run has been asked to save; the code that saves resets it.
    """

    def __init__(self) -> None:
        self.stop = self.save = False
        self._interrupts = False
        self._asked_at = 0.0

    def __enter__(self) -> Signals:
        """Installs the signal handlers; outside the main thread Python allows none."""
        in_main = threading.current_thread() is threading.main_thread()
        numbers = (*STOPPING, signal.SIGUSR1) if in_main else ()
        self._previous = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restores the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Makes a signal to stop raise `Stopped` at once; an earlier signal raises it on entry."""
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
            previous = self._previous[signal.Signals(number)]
            if callable(previous):
                previous(number, frame)
            os._exit(STOPPED_BY_SIGNAL)  # a normal exit would wait for a save on a dead disk
        self.stop, self._asked_at = True, time.monotonic()
        if self._interrupts:
            raise Stopped
        if number == signal.SIGINT and os.environ.get("RANK", "0") == "0":
            os.write(2, b"\nstopping after this step; once more ends at once, without saving\n")

    def _is_passed_on(self) -> bool:
        """Returns whether torchrun is repeating a signal that the terminal sent to every rank."""
        repeated = time.monotonic() - self._asked_at < SAME_REQUEST_SECONDS
        return repeated and "TORCHELASTIC_RUN_ID" in os.environ
