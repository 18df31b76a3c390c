"""Measures how well a detector finds objects: average precision of each class, and their mean.

    python tools/evaluate.py runs/mine                      a run: its newest checkpoint
    python tools/evaluate.py runs/mine/checkpoints/step_900 --split val
    python tools/evaluate.py --detections D.json --data.format voc --data.root FOLDER
        --data.eval_split test --evaluation.metric voc07 --out FOLDER

Settings are those of the run, unless flags say otherwise. Writes detections.json,
evaluation.json and report.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config.flags import config_of, given_settings, parse, settings_parser
from ssd.detect.evaluate import evaluate_detections, evaluate_trained

USAGE = "tools/evaluate.py RUN_DIR|CHECKPOINT [--split NAME] [--section.key VALUE …] [--out DIR]"


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    parser = settings_parser("tools/evaluate.py", USAGE, __doc__)
    parser.add_argument("run", nargs="?", type=str, help="run folder or checkpoint folder")
    parser.add_argument("--detections", type=str, help="a file of detections, instead of a model")
    parser.add_argument("--split", type=str, help="the same as --data.eval_split")
    parser.add_argument("--out", type=str, help="where the results go (default: the run folder)")
    flags = parse(parser, arguments)
    if (flags.get("run") is None) == (flags.get("detections") is None):
        raise UserError("give either a run or checkpoint folder, or --detections FILE")
    if flags.get("split") is not None:
        flags["data.eval_split"] = flags["split"]
    out = None if flags.get("out") is None else Path(flags["out"])
    if flags.get("detections") is not None:
        told = evaluate_detections(
            Path(flags["detections"]), config_of(flags, []), out or Path("evaluation")
        )
    else:
        told = evaluate_trained(Path(flags["run"]), given_settings(flags), out)
    print(told)
    return 0
