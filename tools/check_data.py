"""Looks a data set over before a training: its objects, and what is wrong with it.

    python tools/check_data.py configs/custom_voc.yaml --data.root FOLDER

Reads every annotation and decodes every image of both splits. Shows how many objects there are of
which class and size, which of them no default box of the model overlaps enough, and every broken
or suspicious file. Writes data_check.json, with all of it, and data_check.png.

Exit status: 0 where nothing would hurt training, 1 where something would, 2 for a mistake such as a
folder that is not there.
"""

from collections.abc import Sequence
from pathlib import Path

from ssd.cli import config_of, parse, run, settings_parser
from ssd.data_report import check_data
from ssd.errors import UserError

USAGE = "tools/check_data.py CONFIG.yaml … [--section.key VALUE …] [--out FOLDER]"


def main(arguments: Sequence[str]) -> int:
    parser = settings_parser("tools/check_data.py", USAGE, __doc__)
    parser.add_argument("files", nargs="*", type=str, help="YAML files with settings")
    parser.add_argument("--out", type=str, help="where the results go (default: data_check)")
    flags = parse(parser, arguments)
    if not flags.get("files") and flags.get("data") is None:
        raise UserError(f"give a config, or --data.format and --data.root: {USAGE}")
    return check_data(
        config_of(flags, flags.get("files") or []), Path(flags.get("out") or "data_check")
    )


if __name__ == "__main__":
    run(main)
