"""`ssd evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from ssd.commands.exported import TRUST, is_exported, refuse_trust
from ssd.common.errors import UserError
from ssd.config.flags import CHECKPOINT_FLAG, CommandLine, config_of, given_settings

USAGE = (
    "ssd evaluate RUN_DIR|CHECKPOINT|MODEL [--checkpoint best|last|STEP] [--split NAME]\n"
    "                    [--section.key VALUE …] [--out DIR] [--trust]"
)
DESCRIPTION = """
Measures how well a detector finds objects: average precision of each class, and their mean.

    ssd evaluate runs/mine                       a run: its best checkpoint
    ssd evaluate runs/mine --checkpoint 900 --split val
    ssd evaluate model.onnx --data.root FOLDER   an exported file: .onnx, .xml or .pt2
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
OF_RUNS = {"evaluation.batch_size", "evaluation.mirror", "data.classes", "data.workers"}
JUDGING = ("data.", "evaluation.")
USED = ("evaluation", "data.workers", "training.precision", *COMMON)


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION, USED, COMMON)
    line.add("run", "RUN_DIR|CHECKPOINT", "run folder or checkpoint folder", nargs="?")
    line.add("--checkpoint", "best|last|STEP", CHECKPOINT_FLAG)
    line.add("--detections", "FILE.json", "a file of detections, instead of a model")
    line.add("--trust", "", TRUST, bool)
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
    is_file = is_exported([flags.get("run") or ""])
    refuse_idle(flags, is_file)
    from ssd.detect.evaluate import evaluate_detections, evaluate_trained

    if is_file:
        from ssd.deploy.evaluate import evaluate_exported
        from ssd.deploy.guard import guard

        file, trust = Path(flags["run"]), bool(flags.get("trust"))
        guard()
        print(evaluate_exported(file, given_settings(flags), out, trust))
        return 0
    if flags.get("detections") is None:
        settings, which = given_settings(flags), flags.get("own_checkpoint")
        judged = evaluate_trained(Path(flags["run"]), settings, out, which)
    else:
        config = config_of(flags, [])
        judged = evaluate_detections(Path(flags["detections"]), config, out or Path("evaluation"))
    print(judged)
    return 0


def refuse_idle(flags: Namespace, is_file: bool) -> None:
    """Raises a UserError if a flag has no effect on what is evaluated."""
    if flags.get("trust"):
        refuse_trust(Path(flags.get("run") or flags["detections"]))
    idle = []
    if flags.get("own_checkpoint") is not None and (is_file or flags.get("detections")):
        idle.append("checkpoint")
    if is_file:
        given = given_settings(flags)
        names = [f"{section}.{key}" for section, keys in given.items() for key in keys]
        idle += [name for name in names if name in OF_RUNS or not name.startswith(JUDGING)]
    if idle:
        what = "an exported file" if is_file else "a file of detections"
        raise UserError(f"--{idle[0]} has no effect on {what}: leave it out")
