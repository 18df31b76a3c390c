"""`ssd predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config.flags import CHECKPOINT_FLAG, CommandLine, given_settings
from ssd.config.limits import require

USAGE = (
    "ssd predict RUN_DIR|CHECKPOINT|MODEL.onnx IMAGE|FOLDER … [--recursive] [--out DIR]\n"
    "                   [--min-score SCORE] [--checkpoint best|last|STEP]"
)
DESCRIPTION = """
Finds objects in images with a trained run.

    ssd predict runs/mine photo.jpg folder/of/photos --out predictions
    ssd predict model.onnx photo.jpg             a file of `ssd export`, by onnxruntime

Writes a copy of every image with its detections drawn in, and detections.json. It replaces copies
of its own alone, which drawn.json lists. An image that cannot be read,
or is of a format such as HEIC, is left out and named; the exit status is then 1.
"""
USED = (
    *("evaluation.score_threshold", "evaluation.nms_iou", "evaluation.top_k"),
    *("evaluation.max_detections", "evaluation.batch_size"),
    *("training.device", "training.precision"),
)
MIN_SCORE = 0.4
FINE, INCOMPLETE = 0, 1


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION, USED, USED)
    line.add("run", "RUN_DIR|CHECKPOINT", "run folder or checkpoint folder", nargs="?")
    line.add("images", "IMAGE|FOLDER", "images, and folders of images", nargs="*")
    line.add("--recursive", "", "take the images of subfolders too", bool)
    line.add("--checkpoint", "best|last|STEP", CHECKPOINT_FLAG)
    line.add("--out", "DIR", "where the results go (default: predictions)")
    line.add("--min-score", "SCORE", f"lowest score to show (default: {MIN_SCORE})", float)
    flags = line.parse(arguments)
    if flags.get("run") is None or not flags.get("images"):
        raise UserError(f"a run and at least one image are needed: {USAGE}")
    sources = [Path(image).expanduser() for image in flags["images"]]
    out, score = Path(flags.get("out") or "predictions"), flags.get("min_score", MIN_SCORE)
    require(0 <= score <= 1, "--min-score", score, "at least 0 and at most 1")
    from ssd.detect.predict import predict

    predicted = predict(
        Path(flags["run"]),
        sources,
        given_settings(flags),
        out,
        score,
        bool(flags.get("recursive")),
        flags.get("own_checkpoint"),
    )
    print(predicted.told)
    return INCOMPLETE if predicted.is_incomplete else FINE
