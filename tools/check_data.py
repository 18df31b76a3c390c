"""Tells where training stands before it starts: what is wrong with the data, and what is in it.

    python tools/check_data.py configs/custom_voc.yaml --data.root FOLDER

Takes the settings of tools/train.py. Exit status 0: nothing would hurt training; 1: something
would. Writes data_check.json, with everything, and data_check.png.
"""

from collections.abc import Sequence
from pathlib import Path

from ssd.cli import config_of, parse, run, settings_parser
from ssd.data_report import report_data

USAGE = "tools/check_data.py [CONFIG.yaml …] [--section.key VALUE …] [--out FOLDER]"
QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def main(arguments: Sequence[str]) -> int:
    parser = settings_parser("tools/check_data.py", USAGE, __doc__)
    parser.add_argument("files", nargs="*", type=str, help="YAML files with settings")
    parser.add_argument("--out", type=str, help="where the results go (default: data_check)")
    flags = parse(parser, arguments)
    config = config_of(flags, flags.get("files") or [QUICKSTART])
    return report_data(config, Path(flags.get("out") or "data_check"))


if __name__ == "__main__":
    run(main)
