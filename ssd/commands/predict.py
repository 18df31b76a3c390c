"""Finds objects in images with a trained run.

    python tools/predict.py runs/mine photo.jpg folder/of/photos --out predictions

Writes a copy of every image with its detections drawn in, and detections.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config.flags import given_settings, parse, settings_parser
from ssd.detect.predict import predict

USAGE = "tools/predict.py RUN_DIR|CHECKPOINT IMAGE|FOLDER … [--out DIR] [--min_score SCORE]"


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    parser = settings_parser("tools/predict.py", USAGE, __doc__)
    parser.add_argument("run", type=str, help="run folder or checkpoint folder")
    parser.add_argument("images", nargs="+", type=str, help="images and folders of images")
    parser.add_argument("--out", type=str, help="where the results go (default: predictions)")
    parser.add_argument("--min_score", type=float, help="lowest score to show (default: 0.4)")
    flags = parse(parser, arguments)
    if flags.get("images") is None:
        raise UserError(f"a run and at least one image are needed: {USAGE}")
    sources = [Path(image) for image in flags["images"]]
    score = flags.get("min_score")
    print(
        predict(
            Path(flags["run"]),
            sources,
            given_settings(flags),
            Path(flags.get("out") or "predictions"),
            0.4 if score is None else score,
        )
    )
    return 0
