"""`ssd check`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config.flags import CommandLine, config_of
from ssd.config.limits import require
from ssd.config.recipes import OWN_DATA, QUICKSTART, recipes

USAGE = (
    "ssd check [FOLDER] [RECIPE|CONFIG.yaml …] [--section.key VALUE …] [--out DIR] [--show N]\n"
    "                 [--suggest-boxes]"
)
DESCRIPTION = """
Checks the data before training: reports what is wrong with it and what is in it.

    ssd check FOLDER
    ssd check custom_coco --data.root FOLDER        the same, with the settings of a recipe

The exit status is 0 if nothing would hurt training, else 1. Writes data_check.json, with all
details, and data_check.png. With --show N, also writes augmented.png: the first N training images,
one per row, as they look in the first five epochs. With --suggest-boxes, also prints settings for
default boxes that fit more of the objects; it does anyway if a third of them find none.
"""
COMMON = (
    *("data.root", "data.format", "data.train_split", "data.eval_split", "data.classes"),
    *("model.backbone", "model.input_size", "model.box_sizes", "model.aspect_ratios"),
)
USED = (
    *("data", "augment", "model", "loss.match_iou", "training.seed"),
    *("evaluation.metric", "evaluation.max_detections", "evaluation.top_k"),
)


def by_kind(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The folders among the arguments, of which one is allowed, and the recipes and configs.

    Raises:
        UserError: there are several folders.
    """
    folders = [
        one for one in given if Path(os.path.expanduser(one)).is_dir() and one not in recipes()
    ]
    if len(folders) > 1:
        raise UserError(f"{' and '.join(folders)} are folders: check one data set at a time")
    return folders, [one for one in given if one not in folders]


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION, USED, COMMON)
    meaning = "the data, as --data.root; or a recipe by name, or a YAML file"
    line.add("files", "FOLDER|RECIPE|CONFIG.yaml", meaning, nargs="*")
    line.add("--out", "DIR", "where the results go (default: data_check)")
    line.add("--show", "N", "draw this many images as training sees them", int)
    line.add("--suggest-boxes", "", "print default boxes that fit more of the objects", bool)
    flags = line.parse(arguments)
    folders, files = by_kind(flags.get("files") or [])
    if folders:
        flags["data.root"] = folders[0]
    config = config_of(flags, files or [OWN_DATA if folders else QUICKSTART])
    out, show = Path(flags.get("out") or "data_check"), flags.get("show")
    require(show is None or show >= 1, "--show", show, "at least 1")
    from ssd.doctor.report import FINE, HURTS_TRAINING, report_data
    from ssd.doctor.sheet import write_sheet

    sections = config.data, config.model, config.loss
    suggests = bool(flags.get("suggest_boxes"))
    checked = report_data(*sections, out, config.evaluation, suggests=suggests)
    if show is not None:
        shown = config.data, config.augment, config.model
        print(f"as training sees them: {write_sheet(*shown, config.training.seed, out, show)}")
    return HURTS_TRAINING if checked.is_broken else FINE
