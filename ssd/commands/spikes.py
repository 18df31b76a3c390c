"""Shows why the loss of an SSD spikes once per epoch, and explains the losses of any run.

    python tools/spikes.py                              five arms: 7 minutes on 2 CPU cores
    python tools/spikes.py --remainders 1 4 10 --seeds 0 1 2
    python tools/spikes.py --preset question            at the question's scale, on a GPU
    python tools/spikes.py --explain runs/mine          a run of this framework
    python tools/spikes.py --explain losses.csv --steps-per-epoch 1391 --batch-size 16
                                                        any run: a CSV, or a column of losses

The experiment writes spikes.html, spikes.json and spikes.png; finished runs are not repeated.
An explanation needs at least three passes over the data, and writes spikes.html and spikes.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from ssd.common.errors import UserError
from ssd.config.flags import config_of, given_settings, parse, settings_parser
from ssd.config.recipes import SPIKES, SPIKES_QUESTION

USAGE = """tools/spikes.py [CONFIG.yaml …] [--section.key VALUE …] [--remainders …] [--out DIR]
       tools/spikes.py --explain RUN_DIR|LOSSES.csv [--steps-per-epoch N] [--batch-size B]"""
NUMBERS, LISTS = ("full_steps", "accumulate"), ("remainders", "seeds")
EXPERIMENT_ONLY = ("preset", *NUMBERS, *LISTS, "files")
EXPLAIN_ONLY = ("steps_per_epoch", "batch_size")
CONFIG_FILES = {"default": [SPIKES], "question": [SPIKES, SPIKES_QUESTION]}


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    parser = settings_parser("tools/spikes.py", USAGE, __doc__)
    parser.add_argument("files", nargs="*", type=str, help="YAML files with settings")
    parser.add_argument("--preset", type=str, help="default, or question: 1390 steps of 16 images")
    parser.add_argument("--full-steps", type=int, help="full batches of a pass (default: 22)")
    parser.add_argument(
        "--accumulate", type=int, help="micro-batches of the accumulated runs (default: 2)"
    )
    parser.add_argument(
        "--remainders", nargs="+", type=int, help="images of the short last batch (default: 4)"
    )
    parser.add_argument("--seeds", nargs="+", type=int, help="one run for each (default: 0)")
    parser.add_argument("--explain", type=str, help="a run folder, or a file with losses")
    parser.add_argument("--steps-per-epoch", type=int, help="of the run to explain")
    parser.add_argument("--batch-size", type=int, help="images of a full step of that run")
    parser.add_argument("--out", type=str, help="where the results go (default: runs/spikes)")
    flags = parse(parser, arguments)
    explains = flags.get("explain") is not None
    for name in EXPERIMENT_ONLY if explains else EXPLAIN_ONLY:
        if flags.get(name) not in (None, []):
            flag = f"--{name.replace('_', '-')}"
            hint = "cannot be used with --explain" if explains else "needs --explain FILE"
            raise UserError(f"{flag} {hint}: leave it out" + (" or add that" * (not explains)))
    if explains and given_settings(flags):
        raise UserError("--explain reads a log and trains nothing: leave the settings out")
    return explain(flags) if explains else experiment(flags)


def explain(flags: Namespace) -> int:
    """Explains the log of a run."""
    from ssd.spikes.explained import explain_run

    path, out = Path(flags["explain"]), flags.get("out")
    numbers = flags.get("steps_per_epoch"), flags.get("batch_size")
    print(explain_run(path, *numbers, None if out is None else Path(out)))
    return 0


def experiment(flags: Namespace) -> int:
    """Runs the experiment."""
    from ssd.experiment.run import PRESETS, run_experiment

    preset = flags.get("preset") or "default"
    if preset not in PRESETS:
        raise UserError(f"--preset is {preset}, but has to be {' or '.join(PRESETS)}")
    given: dict[str, Any] = {name: flags[name] for name in NUMBERS if name in flags}
    given |= {name: tuple(flags[name]) for name in LISTS if name in flags}
    base = config_of(flags, [*CONFIG_FILES[preset], *(flags.get("files") or [])])
    scenario = replace(PRESETS[preset], **given)
    return run_experiment(base, scenario, Path(flags.get("out") or "runs/spikes"))
