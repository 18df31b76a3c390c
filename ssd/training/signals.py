"""Signals to a run: stop cleanly, or save and continue.

SIGTERM or SIGINT (Ctrl-C): save after the current step and stop. A second one goes to the handler
from before the run, which ends a command at once and raises KeyboardInterrupt in a program.
SIGUSR1, which Windows does not have: save after the current step and continue.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

STOPPED_BY_SIGNAL, INTERRUPTED = 128 + signal.SIGTERM, 128 + signal.SIGINT  # as shells have them
STOPPING = (signal.SIGTERM, signal.SIGINT)
SAVING = [signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []
STOPPING_RUN = "stopping after this step; once more ends at once, without saving"
SAME_REQUEST_SECONDS = 2.0
FORWARDED_SIGNALS = "SSD_FORWARDED_SIGNALS"  # set where a process gets those of another one


class Stopped(BaseException):
    """Interrupts long work. Not an `Exception`, so that no handler on the way catches it."""


class Signals:
    """Handles the signals while its context is entered.

    Args:
        told: the line that answers Ctrl-C.

    Attributes:
        stop: whether the run has been asked to stop.
        save: whether the run has been asked to save; the code that saves resets it.
        status: the exit status of a run that stops: 130 after Ctrl-C, else 143.
    """

    def __init__(self, told: str = STOPPING_RUN) -> None:
        self._told = f"{told}\n".encode()
        self.stop = self.save = False
        self.status: int = STOPPED_BY_SIGNAL
        self._interrupts = False
        self._asked_at = 0.0

    def __enter__(self) -> Signals:
        """Installs the signal handlers; outside the main thread Python allows none."""
        in_main = threading.current_thread() is threading.main_thread()
        numbers = (*STOPPING, *SAVING) if in_main else ()
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
        if number in SAVING:
            self.save = True
            return
        if self.stop and not self._is_passed_on():
            previous = self._previous[signal.Signals(number)]
            if callable(previous):
                previous(number, frame)
            os._exit(128 + number)  # a normal exit would wait for a save on a dead disk
        self.stop, self._asked_at = True, time.monotonic()
        if number == signal.SIGINT:
            self.status = INTERRUPTED
        if self._interrupts:
            raise Stopped
        if number == signal.SIGINT and os.environ.get("RANK", "0") == "0":
            over_the_bar = b"\r\033[K" if os.isatty(2) else b"\n"
            os.write(2, over_the_bar + self._told)

    def _is_passed_on(self) -> bool:
        """Returns whether another process is repeating a signal that both of them got.

        That is torchrun, or the process that waits for one which runs an exported file.
        """
        repeated = time.monotonic() - self._asked_at < SAME_REQUEST_SECONDS
        return repeated and not {"TORCHELASTIC_RUN_ID", FORWARDED_SIGNALS}.isdisjoint(os.environ)
