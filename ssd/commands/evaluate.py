"""`ssd evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.commands.exported import is_exported
from ssd.common.errors import UserError
from ssd.config.flags import CHECKPOINT_FLAG, CommandLine, config_of, given_settings

USAGE = (
    "ssd evaluate RUN_DIR|CHECKPOINT|MODEL.onnx [--checkpoint best|last|STEP] [--split NAME]\n"
    "                    [--section.key VALUE …] [--out DIR]"
)
DESCRIPTION = """
Measures how well a detector finds objects: average precision of each class, and their mean.

    ssd evaluate runs/mine                       a run: its best checkpoint
    ssd evaluate runs/mine --checkpoint 900 --split val
    ssd evaluate model.onnx --data.root FOLDER   an exported file
    ssd evaluate --detections D.json --data.format voc --data.root FOLDER
        --data.eval_split test --evaluation.metric voc07 --out FOLDER

Settings are those of the run, unless flags say otherwise. Writes detections.json, evaluation.json
and report.html: for the last checkpoint of a run and its own settings into the run folder, else
into its folder evaluations/SPLIT-step_N, with the settings that differ in the name.
"""
COMMON = (
    *("data.root", "data.format", "data.eval_split", "data.classes", "evaluation.metric"),
    *("evaluation.iou_threshold", "evaluation.batch_size", "training.device"),
)
USED = ("evaluation", "data.workers", "training.precision", *COMMON)


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION, USED, COMMON)
    line.add("run", "RUN_DIR|CHECKPOINT", "run folder or checkpoint folder", nargs="?")
    line.add("--checkpoint", "best|last|STEP", CHECKPOINT_FLAG)
    line.add("--detections", "FILE.json", "a file of detections, instead of a model")
    line.add("--split", "NAME", "the same as --data.eval_split")
    line.add(
        "--out",
        "DIR",
        "where the results go (default: see above; for a checkpoint outside of a run, "
        "evaluation_step_N)",
    )
    flags = line.parse(arguments)
    if (flags.get("run") is None) == (flags.get("detections") is None):
        raise UserError("give either a run or checkpoint folder, or --detections FILE")
    if flags.get("split") is not None:
        flags["data.eval_split"] = flags["split"]
    out = None if flags.get("out") is None else Path(flags["out"])
    from ssd.detect.evaluate import evaluate_detections, evaluate_trained

    if is_exported([flags.get("run") or ""]):
        from ssd.deploy.evaluate import evaluate_exported

        print(evaluate_exported(Path(flags["run"]), given_settings(flags), out))
        return 0
    if flags.get("detections") is None:
        settings, which = given_settings(flags), flags.get("own_checkpoint")
        judged = evaluate_trained(Path(flags["run"]), settings, out, which)
    else:
        config = config_of(flags, [])
        judged = evaluate_detections(Path(flags["detections"]), config, out or Path("evaluation"))
    print(judged)
    return 0
