"""`ssd spikes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from ssd.common.errors import UserError
from ssd.config.flags import CommandLine, config_of, given_settings
from ssd.config.recipes import SPIKES, SPIKES_QUESTION

USAGE = """ssd spikes [RECIPE|CONFIG.yaml …] [--section.key VALUE …] [--remainders …] [--out DIR]
       ssd spikes --explain RUN_DIR|LOG [--run N] [--steps-per-epoch N] [--batch-size B]"""
DESCRIPTION = """
Shows why the loss of an SSD spikes once per epoch, and explains the losses of any run.

    ssd spikes                              six arms: 9 minutes on 2 CPU cores
    ssd spikes --remainders 1 4 10 --seeds 0 1 2
    ssd spikes --arms step_positives share drop_last --remainders 1 --accumulate 1
    ssd spikes --preset question            at the question's scale, on a GPU
    ssd spikes --explain runs/mine          a run of this framework
    ssd spikes --explain trainer_state.json --batch-size 16             a run of anyone
    ssd spikes --explain losses.csv --loss-column total --steps-per-epoch 1391

The experiment writes spikes.html, spikes.json and spikes.png; finished runs are not repeated.
An explanation needs at least three passes over the data, and writes spikes.html and spikes.json. It
reads TensorBoard's event files, the logs of Hugging Face's Trainer, detectron2, mmdetection,
Lightning, YOLOX, torchvision and others, exports of W&B and TensorBoard, any CSV with a column of
losses, and a bare column of losses. If there are several runs, each is explained on a page of its
own, named after it; --run chooses one.
"""
COMMON = (
    *("training.epochs", "training.batch_size", "training.clip_norm", "training.device"),
    *("optimizer.name", "optimizer.lr", "model.backbone", "model.input_size"),
)
USED = ("data.root", "data.workers", "augment", "model", "optimizer", "training", "evaluation")
NUMBERS, LISTS = ("full_steps", "accumulate"), ("remainders", "seeds", "arms")
EXPERIMENT_ONLY = ("preset", *NUMBERS, *LISTS, "files")
EXPLAIN_ONLY = (
    *("steps_per_epoch", "batch_size", "run"),
    *("loss_column", "step_column", "epoch_column"),
)
LOGS = (".csv", ".tsv", ".json", ".jsonl", ".txt", ".log")
CONFIG_FILES = {"default": [SPIKES], "question": [SPIKES, SPIKES_QUESTION]}


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION, USED, COMMON)
    line.add("files", "RECIPE|CONFIG.yaml", "settings of the experiment", nargs="*")
    line.add("--explain", "RUN_DIR|LOG", "explain a run folder, a log, or a folder of logs")
    line.add("--run", "N", "the run to explain, by number or name (default: each of them)")
    line.add("--loss-column", "NAME", "column or tag of the loss, if it is not found")
    line.add("--step-column", "NAME", "column of the step, if it is not found")
    line.add("--epoch-column", "NAME", "column of the epoch, if it is not found")
    line.add("--steps-per-epoch", "N", "steps of a pass of the run to explain", int)
    line.add("--batch-size", "B", "images of a full step of that run", int)
    line.add("--preset", "default|question", "question: 1390 steps of 16 images, on a GPU")
    line.add("--full-steps", "N", "full batches of a pass (default: 22)", int)
    line.add("--accumulate", "N", "micro-batches of accumulated runs; 1: none (default: 2)", int)
    line.add("--remainders", "R …", "images of the short last batch (default: 4)", int, nargs="+")
    line.add("--seeds", "S …", "one run for each (default: 0)", int, nargs="+")
    line.add("--arms", "ARM …", "some of the arms, by name (default: all)", nargs="+")
    line.add(
        "--out",
        "DIR",
        "where the results go (default: runs/spikes; with --explain the run folder, or "
        "runs/explained_NAME for anything else)",
    )
    flags = line.parse(arguments)
    explains = flags.get("explain") is not None
    for name in EXPERIMENT_ONLY if explains else EXPLAIN_ONLY:
        if flags.get(name) not in (None, []):
            flag = f"--{name.replace('_', '-')}"
            if explains:
                raise UserError(f"{flag} cannot be used with --explain: leave it out")
            raise UserError(f"{flag} needs --explain FILE: add it, or leave {flag} out")
    if explains and given_settings(flags):
        raise UserError("--explain reads a log and trains nothing: leave the settings out")
    return explain(flags) if explains else experiment(flags)


def explain(flags: Namespace) -> int:
    """Explains the log of a run."""
    from ssd.spikes.explained import explain_run
    from ssd.spikes.formats.table import Chosen

    path, out = Path(flags["explain"]), flags.get("out")
    numbers = flags.get("steps_per_epoch"), flags.get("batch_size")
    chosen = Chosen(*(flags.get(f"{part}_column") for part in ("loss", "step", "epoch")))
    out = None if out is None else Path(out)
    print(explain_run(path, *numbers, out, flags.get("run"), chosen))
    return 0


def experiment(flags: Namespace) -> int:
    """Runs the experiment."""
    from ssd.experiment.run import PRESETS, run_experiment

    preset = flags.get("preset") or "default"
    if preset not in PRESETS:
        raise UserError(f"--preset is {preset}, but has to be {' or '.join(PRESETS)}")
    given: dict[str, Any] = {name: flags[name] for name in NUMBERS if name in flags}
    given |= {name: tuple(flags[name]) for name in LISTS if name in flags}
    for file in flags.get("files") or []:
        if Path(file).is_dir() or Path(file).suffix in LOGS:
            raise UserError(f"{file} is no config: ssd spikes --explain {file} explains its losses")
    base = config_of(flags, [*CONFIG_FILES[preset], *(flags.get("files") or [])])
    scenario = replace(PRESETS[preset], **given)
    return run_experiment(base, scenario, Path(flags.get("out") or "runs/spikes"))
