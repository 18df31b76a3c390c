"""The folder of a run."""

from __future__ import annotations

import datetime
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def run_folder(out: str | Path | None) -> Iterator[Path]:
    """The folder `out`, or a new one of its own, named after the time.

    The new one is made at once, so that no run started in the same second takes it too, and is
    removed if it is still empty at the end. Of several ranks, only the first makes one; the
    training takes its name from there.
    """
    if out or os.environ.get("RANK", "0") != "0":
        yield Path(out or "runs")
        return
    now = datetime.datetime.now().strftime("%Y%m%d_%H%M%S")
    names = itertools.chain([now], (f"{now}_{number}" for number in itertools.count(2)))
    folder = next(Path("runs") / name for name in names if _makes(Path("runs") / name))
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


def _makes(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True
