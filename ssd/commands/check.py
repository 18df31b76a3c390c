"""Checks the data before training: reports what is wrong with it and what is in it.

    python tools/check_data.py configs/custom_voc.yaml --data.root FOLDER

Takes the settings of tools/train.py. The exit status is 0 if nothing would hurt training, else 1.
Writes data_check.json, with all details, and data_check.png. With --show N, also writes
augmented.png: the first N training images, one per row, as they look in the first five epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config.flags import config_of, parse, settings_parser
from ssd.config.recipes import QUICKSTART
from ssd.doctor.report import report_data
from ssd.doctor.sheet import write_sheet

USAGE = "tools/check_data.py [CONFIG.yaml …] [--section.key VALUE …] [--out FOLDER] [--show N]"


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    parser = settings_parser("tools/check_data.py", USAGE, __doc__)
    parser.add_argument("files", nargs="*", type=str, help="YAML files with settings")
    parser.add_argument("--out", type=str, help="where the results go (default: data_check)")
    parser.add_argument("--show", type=int, help="draw this many images as training sees them")
    flags = parse(parser, arguments)
    config = config_of(flags, flags.get("files") or [QUICKSTART])
    out, show = Path(flags.get("out") or "data_check"), flags.get("show")
    if show is not None and show < 1:
        raise UserError(f"--show is {show}, but has to be at least 1")
    status = report_data(config.data, config.model, config.loss, out)
    if show is not None:
        sections = config.data, config.augment, config.model
        print(f"as training sees them: {write_sheet(*sections, config.training.seed, out, show)}")
    return status
