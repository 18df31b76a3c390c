"""Stops a training by SIGTERM in each of its phases, lets it go on, and compares its end.

    python tests/runs/stops.py

It has to save what it has, end with status 143 without beginning another step or finishing an
evaluation, and come to the same end as an undisturbed run. Exits with 1 and names what is wrong.
"""

import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from compare import differences, rows
from lives import born, end_of, flags, lived

from ssd.data.shapes import draw_shapes
from ssd.run.checkpoints import list_checkpoints, step_of

STEPS = 12  # two epochs; the first evaluation comes after step 6
PHASES = {  # the function in which the signal comes, at which of its calls, and the step saved then
    "a step": ("ssd.training.trainer", "train_step", 3, 3),
    "saving": ("ssd.run.checkpoint", "write_and_flush", 4, None),
    "detecting": ("ssd.detect.detector", "to_device", 1, 6),
    "measuring": ("ssd.training.trainer", "measure", 1, 6),
    "the last evaluation": ("ssd.training.trainer", "measure", 2, 12),
}


def signalled(module: str, name: str, at: int) -> Callable[[], None]:
    """What makes a function send SIGTERM to its process when it is called the `at`-th time."""

    def prepare() -> None:
        owner = importlib.import_module(module)
        function, calls = getattr(owner, name), []

        def signalling(*arguments, **named):
            calls.append(name)
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return function(*arguments, **named)

        setattr(owner, name, signalling)

    return prepare


def stopped(run_dir: Path, phase: str) -> list[str]:
    """What is wrong with the stop of a run in a phase; then lets it come to its end."""
    module, name, at, expected = PHASES[phase]
    arguments, log = flags(run_dir, STEPS, workers=1), run_dir.with_suffix(".log")
    status = end_of(born(arguments, log, signalled(module, name, at)))
    found = []
    if status != 143:
        found.append(f"it ended with {status}: {log.read_text()[-900:]}")
    step = step_of(list_checkpoints(run_dir / "checkpoints")[0])
    if expected not in (step, None):
        found.append(f"step {step} is saved and not {expected}")
    if f"stopped after step {step}, which is saved" not in log.read_text():
        found.append("it does not say where it stopped")
    if any((row["kind"], row["step"]) == ("eval", expected) for row in rows(run_dir)):
        found.append("it finished the evaluation first")
    lived(arguments, log, lambda: False)
    return [f"{phase}: {problem}" for problem in found]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        draw_shapes(Path(folder) / "data", 24, 8, seed=1)
        whole = Path(folder) / "whole"
        lived(flags(whole, STEPS, workers=0), whole.with_suffix(".log"), lambda: False)
        runs = {phase: whole.with_name(phase.replace(" ", "_")) for phase in PHASES}
        found = [problem for phase, run in runs.items() for problem in stopped(run, phase)]
        found += [f"{p}: {what}" for p, run in runs.items() for what in differences(whole, run)]
    print(f"stopped in {len(PHASES)} phases")
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
