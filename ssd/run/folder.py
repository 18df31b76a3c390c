"""The folders that commands write to: a new one, an empty one, or one of their own kind."""

from __future__ import annotations

import datetime
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from ssd.common.errors import UserError
from ssd.common.untrusted import shown
from ssd.run import names

Kind = Literal["a run", "predictions", "a check of data", "spikes", "an evaluation"]

# The files that tell the kind of a folder, by the first that is there. Each is written before all
# that could overwrite a user's file, so that a killed command finds its folder again.
MARKS: dict[Kind, tuple[str, ...]] = {
    "a run": (names.RUNNING, names.HEADERS, names.ENVIRONMENT, f"{names.CHECKPOINTS}/step_*"),
    "predictions": (names.DRAWN,),
    "a check of data": (names.DATA_CHECK,),
    "spikes": (names.SPIKES, "runs/*_r*_seed*"),
    "an evaluation": (names.EVALUATION,),
}
LOGS = (".log", ".out", ".err")  # no command writes such a file, but shells and schedulers do
ROOM = 50_000_000  # bytes


def check_out(out: Path, kind: Kind, data_root: str | None = None) -> None:
    """Makes sure that results can go to a folder, and overwrite nothing but earlier ones.

    Args:
        out: the folder, which need not exist.
        kind: of the results.
        data_root: the folder of the data that they are of.

    Raises:
        UserError: the folder holds something else, or the data; it is a file, may not be written
            to, or its disk is full.
    """
    check_place(out)
    found = _content(out)
    if data_root is not None:
        root, here = Path(os.path.expanduser(data_root)).resolve(), out.resolve()
        # One that is there already is of a run that goes on, or refused below.
        if root.is_relative_to(here) or (here.is_relative_to(root) and not found):
            raise UserError(
                f"{out} would mix results with the data in data.root {data_root}: give an --out "
                "elsewhere"
            )
    if not found:
        return
    holds = next((each for each, marks in MARKS.items() if _has_any(out, marks)), None)
    if holds != kind:
        what = holds or f"other files ({shown(found, 3)})"
        raise UserError(
            f"{out} holds {what} and not {kind}: give a new or an empty folder as --out"
        )


def check_place(out: Path) -> None:
    """Makes sure that a folder can be written to, or made.

    Raises:
        UserError: it is a file, may not be written to, or its disk is full.
    """
    place = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not place.is_dir():
        raise UserError(f"{out} cannot be used, since {place} is no folder: give another --out")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{place} may not be written to: permit it, or give another --out")
    disk = shutil.disk_usage(place)
    if disk.total and disk.free < ROOM:
        raise UserError(
            f"the disk of {place} has {disk.free / 1e6:.0f} MB left, and {ROOM / 1e6:.0f} are "
            "needed: make room, or give another --out"
        )


def _content(folder: Path) -> list[str]:
    """The names in a folder, but for hidden files, logs, and what a new disk comes with."""
    inside = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    return [
        name
        for name in inside
        if not name.startswith(".") and not name.endswith(LOGS) and name != "lost+found"
    ]


def _has_any(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


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
