"""`ssd predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.commands.exported import TRUST, is_exported, refuse_trust
from ssd.commands.predict_flags import (
    FLAGS,
    SOURCES,
    SOURCES_MEANING,
    STOPPING,
    status_of,
    to_order,
)
from ssd.common.errors import UserError
from ssd.config.flags import CHECKPOINT_FLAG, CommandLine, given_settings
from ssd.training.signals import Signals

USAGE = (
    "ssd predict RUN_DIR|CHECKPOINT|MODEL SOURCE … [--out DIR] [--min-score SCORE] …\n"
    "                   [--checkpoint best|last|STEP] [--section.key VALUE …]"
)
DESCRIPTION = """
Finds objects in pictures and videos with a trained run.

    ssd predict runs/mine photo.jpg folder/of/photos 'more/*.png' --out predictions
    ssd predict runs/mine clip.mp4               or camera:0, or rtsp://HOST/PATH; Ctrl-C ends it
    ffmpeg -i clip.mp4 -f image2pipe -c:v png - | ssd predict runs/mine -
    ssd predict runs/mine photos --write voc     annotations, to correct and to train on
    ssd predict runs/mine --show-truth           the evaluation data beside its ground truth
    ssd predict model.onnx photo.jpg             a file of `ssd export`: .onnx, .xml or .pt2

Writes a copy of every image and video with its detections drawn in, and detections.json. It
replaces copies of its own alone, which drawn.json lists. An image that cannot be read,
or is of a format such as HEIC, is left out and named, and so is a video that is cut off, after the
frames that can be read; the exit status is then 1.
"""
USED = (
    *("evaluation.score_threshold", "evaluation.nms_iou", "evaluation.top_k"),
    *("evaluation.max_detections", "evaluation.mirror", "evaluation.batch_size"),
    *("training.device", "training.precision", "data.root", "data.format", "data.eval_split"),
)


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION, USED, USED)
    line.add("run", "RUN_DIR|CHECKPOINT", "run folder or checkpoint folder", nargs="?")
    line.add("sources", SOURCES, SOURCES_MEANING, nargs="*")
    line.add("--checkpoint", "best|last|STEP", CHECKPOINT_FLAG)
    line.add("--trust", "", TRUST, bool)
    for flag in FLAGS:
        line.add(flag.name, flag.value, flag.meaning, flag.kind, **flag.more)
    flags = line.parse(arguments)
    show_truth = bool(flags.get("show_truth"))
    if flags.get("run") is None or not (flags.get("sources") or show_truth):
        raise UserError(f"a run and at least one image are needed: {USAGE}")
    run, settings, trust = Path(flags["run"]), given_settings(flags), bool(flags.get("trust"))
    if trust:
        refuse_trust(run)
    for name in [] if show_truth else settings.get("data", {}):
        raise UserError(f"--data.{name} has no effect without --show-truth: leave it out")
    with Signals(STOPPING) as signals:
        order = to_order(flags.as_dict(), signals)
        if is_exported([flags["run"]]):
            from ssd.deploy.evaluate import truth_for
            from ssd.deploy.guard import guard
            from ssd.deploy.predict import predict_exported

            guard()
            predicted = predict_exported(run, *truth_for(run, order, settings, trust), trust)
        else:
            from ssd.detect.predict import predict

            which = flags.get("own_checkpoint")
            predicted = predict(run, order, settings, which, show_truth)
        return status_of(predicted, signals)
