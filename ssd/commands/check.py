"""Tells where training stands before it starts: what is wrong with the data, and what is in it.

    python tools/check_data.py configs/custom_voc.yaml --data.root FOLDER

Takes the settings of tools/train.py. Exit status 0: nothing would hurt training; 1: something
would. Writes data_check.json, with everything, and data_check.png. With --show N also
augmented.png: the first N images of training, a row each, as they are in its first five epochs.
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
    parser.add_argument("--show", type=int, help="draw so many images as training sees them")
    flags = parse(parser, arguments)
    config = config_of(flags, flags.get("files") or [QUICKSTART])
    out, show = Path(flags.get("out") or "data_check"), flags.get("show")
    if show is not None and show < 1:
        raise UserError(f"--show is {show}, but has to be at least 1")
    status = report_data(config, out)
    if show is not None:
        print(f"as training sees them: {write_sheet(config, out, show)}")
    return status
