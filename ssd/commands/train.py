"""`ssd train`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from ssd.config.flags import CommandLine, config_of
from ssd.config.recipes import QUICKSTART
from ssd.config.settings import SECTIONS
from ssd.run.folder import run_folder

USAGE = "ssd train [RECIPE|CONFIG.yaml …] [--section.key VALUE …] [--out RUN_DIR]"
DESCRIPTION = """
Trains a detector.

    ssd train                                     the quickstart, on the embedded shapes
    ssd train custom_voc --data.root FOLDER --out runs/mine
    torchrun --standalone --nproc-per-node 8 -m ssd train …       the same on eight GPUs

Settings come from recipes and YAML files, of which later ones win, and then from flags. The same
command with the same --out resumes an interrupted run where it was saved.
"""
COMMON = (
    *("data.root", "data.format", "data.train_split", "data.eval_split", "data.classes"),
    *("model.backbone", "model.input_size", "model.weights"),
    *("training.epochs", "training.batch_size", "optimizer.lr", "training.device"),
)


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION, SECTIONS, COMMON)
    line.add("files", "RECIPE|CONFIG.yaml", "a recipe by name, or a YAML file", nargs="*")
    line.add("--out", "RUN_DIR", "run folder (default: runs/DATE_TIME)")
    line.add(
        "--resume",
        "auto|never|CHECKPOINT",
        "auto resumes the run in --out, if there is one; never refuses to; a checkpoint is gone on "
        "from in --out (default: auto)",
    )
    flags = line.parse(arguments)
    config = config_of(flags, flags.get("files") or [QUICKSTART])
    from ssd.training.last_words import last_words
    from ssd.training.start import train
    from ssd.training.trainer import DONE

    with run_folder(flags.get("out")) as run_dir:
        status = train(config, run_dir, flags.get("resume") or "auto")
    if os.environ.get("RANK", "0") == "0":
        again = f"run the same command with --out {shlex.quote(str(run_dir))} to resume"
        print(last_words(run_dir) if status == DONE else again)
    return status
