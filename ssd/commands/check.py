"""`ssd check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config.flags import CommandLine, config_of
from ssd.config.recipes import QUICKSTART

USAGE = "ssd check [RECIPE|CONFIG.yaml …] [--section.key VALUE …] [--out DIR] [--show N]"
DESCRIPTION = """
Checks the data before training: reports what is wrong with it and what is in it.

    ssd check custom_voc --data.root FOLDER

The exit status is 0 if nothing would hurt training, else 1. Writes data_check.json, with all
details, and data_check.png. With --show N, also writes augmented.png: the first N training images,
one per row, as they look in the first five epochs.
"""
COMMON = (
    *("data.root", "data.format", "data.train_split", "data.eval_split", "data.classes"),
    *("model.backbone", "model.input_size", "model.box_sizes"),
)
USED = (
    *("data", "augment", "model", "loss.match_iou", "training.seed"),
    *("evaluation.metric", "evaluation.max_detections", "evaluation.top_k"),
)


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION, USED, COMMON)
    line.add("files", "RECIPE|CONFIG.yaml", "a recipe by name, or a YAML file", nargs="*")
    line.add("--out", "DIR", "where the results go (default: data_check)")
    line.add("--show", "N", "draw this many images as training sees them", int)
    flags = line.parse(arguments)
    config = config_of(flags, flags.get("files") or [QUICKSTART])
    out, show = Path(flags.get("out") or "data_check"), flags.get("show")
    if show is not None and show < 1:
        raise UserError(f"--show is {show}, but has to be at least 1")
    from ssd.doctor.report import FINE, HURTS_TRAINING, report_data
    from ssd.doctor.sheet import write_sheet

    checked = report_data(config.data, config.model, config.loss, out, config.evaluation)
    if show is not None:
        sections = config.data, config.augment, config.model
        print(f"as training sees them: {write_sheet(*sections, config.training.seed, out, show)}")
    return HURTS_TRAINING if checked.is_broken else FINE
