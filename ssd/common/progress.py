"""The progress of long work: a bar on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Never

from tqdm.auto import tqdm

from ssd.common.terminal import marked
from ssd.common.words import counted

SECONDS = 30.0  # between two lines


class Progress:
    """Shows how far some work has come, on stderr; at the end, a bar leaves nothing behind.

    Args:
        what: names the work.
        total: its parts; None if they are not known.
        unit: a part, in the singular.
        done: parts that were done before.
        hidden: show nothing.
        after: seconds after which a bar appears.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        unit: str,
        done: int = 0,
        *,
        hidden: bool = False,
        after: float = 0,
    ) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._first = self._done = done
        self._note = ""
        self._started = self._told = time.monotonic()
        self._hidden = hidden
        self._bar: tqdm[Never] | None = None
        if not hidden and can_redraw():
            self._bar = tqdm(
                *(None, what, total),
                initial=done,
                unit=unit,
                leave=False,
                dynamic_ncols=True,
                delay=after,
            )

    def advance(self, parts: int = 1) -> None:
        """Counts parts that are done."""
        self._done += parts
        if self._bar is not None:
            self._bar.update(parts)
        elif not self._hidden and time.monotonic() - self._told >= SECONDS:
            self._told = time.monotonic()
            print(self._line(), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Shows a text beside the progress from now on."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        """Does nothing."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Removes the bar."""
        self.close()

    def _line(self) -> str:
        took, done = self._told - self._started, self._done - self._first
        many = counted(self._done, self._unit)
        left = ""
        if self._total is not None:
            many = f"{self._done:,} of {counted(self._total, self._unit)}"
            seconds = took / max(1, done) * max(0, self._total - self._done)
            left = f", about {tqdm.format_interval(seconds)} left"
        speed = f"{done / took:.3g} {self._unit}s/s"
        note = f", {self._note}" if self._note else ""
        return f"{self._what}: {many}, {tqdm.format_interval(took)}, {speed}{left}{note}"


def can_redraw() -> bool:
    """Returns whether stderr can show a bar: it is a terminal, or that of a notebook."""
    return sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)


def say(text: str, *, to_stderr: bool = False) -> None:
    """Prints a text above the bars, with its first word in colour if that is a warning."""
    stream = sys.stderr if to_stderr else sys.stdout
    tqdm.write(marked(text, stream), file=stream)
    stream.flush()
