"""Kills a training again and again, lets it go on, and compares its end with an undisturbed one's.

    python tests/runs/soak.py --kills 50 --workers 0 1 2      (make soak)

Lives end by SIGKILL: two in three at a random moment (of the start, of a step, of an evaluation),
the others while a checkpoint is being written. Every life goes on where the last one was saved. In
the end the weights, the optimizer, the generators, the score of the checkpoint and the detections
have to be equal to the last bit, and metrics.jsonl and TensorBoard's curves too, but for what they
tell of the clock. Exits with 1 and names what differs.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from compare import differences
from lives import flags, lived

from ssd.data.shapes import draw_shapes
from ssd.run.checkpoints import list_checkpoints

STEPS_OF_A_KILL = 6  # the run has so many for each kill, and lives for half as many on average


class Pace(NamedTuple):
    """Seconds to the first saved step of a run, and from one to the next."""

    start: float
    step: float


def undisturbed(run_dir: Path, steps: int) -> Pace:
    """Trains to the end at once."""
    started, saved = time.monotonic(), []

    def watch() -> bool:
        if not saved and list_checkpoints(run_dir / "checkpoints"):
            saved.append(time.monotonic())
        return False

    lived(flags(run_dir, steps, workers=0), run_dir.with_suffix(".log"), watch)
    return Pace(saved[0] - started, (time.monotonic() - saved[0]) / steps)


def being_written(checkpoints: Path) -> list[int]:
    """When the checkpoints that are not finished were begun; a later one makes it larger."""
    with contextlib.suppress(FileNotFoundError):  # it was finished meanwhile
        return sorted(
            (p.stat().st_mtime_ns for p in checkpoints.glob(".unf*/state.pt")), reverse=True
        )
    return []


def soak(run_dir: Path, pace: Pace, kills: int, workers: int, chance: random.Random) -> None:
    """Kills a run so many times, then lets it come to its end."""
    arguments, log = flags(run_dir, kills * STEPS_OF_A_KILL, workers), run_dir.with_suffix(".log")
    checkpoints = run_dir / "checkpoints"
    killed = while_saving = 0
    reached: set[Path] = set()
    for life in range(kills):
        print(f"\rwith {workers} workers: kill {life + 1} of {kills}", end="", file=sys.stderr)
        before = being_written(checkpoints)
        end = time.monotonic() + chance.uniform(0, pace.start + STEPS_OF_A_KILL * pace.step)

        def is_time(saves: bool = life % 3 == 2, before: Any = before, end: float = end) -> bool:
            return being_written(checkpoints) > before if saves else time.monotonic() >= end

        killed += lived(arguments, log, is_time)
        while_saving += being_written(checkpoints) > before
        reached |= set(list_checkpoints(checkpoints)[:1])
    lived(arguments, log, lambda: False)
    print(
        f"\r{workers} workers: {killed} kills, {while_saving} of them while saving, after "
        f"{len(reached)} different steps",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="for each number of workers")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw_shapes(Path(folder) / "data", 24, 8, seed=1)
        whole = Path(folder) / "whole"
        pace = undisturbed(whole, chosen.kills * STEPS_OF_A_KILL)
        chance = random.Random(chosen.seed)
        killed = [Path(folder) / f"with_{workers}_workers" for workers in chosen.workers]
        for run_dir, workers in zip(killed, chosen.workers, strict=True):
            soak(run_dir, pace, chosen.kills, workers, chance)
        found = [f"{run.name}: {what}" for run in killed for what in differences(whole, run)]
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
