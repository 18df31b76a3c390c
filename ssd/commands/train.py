"""Trains a detector.

    python tools/train.py                       configs/quickstart.yaml, on the embedded shapes
    python tools/train.py configs/custom_voc.yaml --data.root FOLDER --out runs/mine
    torchrun --standalone --nproc-per-node 8 tools/train.py …   the same on eight GPUs

Settings come from YAML files, where later ones win, then from flags. To resume an interrupted run
from its last checkpoint, give the same command again with the same --out.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from ssd.config.flags import config_of, parse, settings_parser
from ssd.config.recipes import QUICKSTART
from ssd.training.start import train

USAGE = "tools/train.py [CONFIG.yaml …] [--section.key VALUE …] [--out RUN_DIR] [--resume …]"


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    parser = settings_parser("tools/train.py", USAGE, __doc__)
    parser.add_argument("files", nargs="*", type=str, help="YAML files with settings")
    parser.add_argument("--out", type=str, help="run folder (default: runs/DATE_TIME)")
    parser.add_argument(
        "--resume", type=str, help="auto (default), never, or the path of a checkpoint"
    )
    flags = parse(parser, arguments)
    now = datetime.datetime.now().strftime("%Y%m%d_%H%M%S")
    config = config_of(flags, flags.get("files") or [QUICKSTART])
    run_dir = Path(flags.get("out") or f"runs/{now}")
    return train(config, run_dir, flags.get("resume") or "auto")
