"""Runs a trained detector on image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.config.settings import Settings
from ssd.detect.detector import Detector
from ssd.detect.drawn import Predicted, predict_files
from ssd.detect.load import build_detector, config_of, open_checkpoint


def predict(
    trained: Path,
    given: Sequence[Path],
    overrides: Settings,
    out: Path,
    min_score: float,
    recursive: bool = False,
    which: str | None = None,
) -> Predicted:
    """Detects objects in images by a run, as `predict_files` does.

    Args:
        trained: run folder or checkpoint.
        given: image files and folders of them.
        overrides: settings that differ from those it was trained with.
        out: folder for a drawn copy of every image, and one detections.json.
        min_score: detections below it are neither drawn nor written.
        recursive: take the images of subfolders too.
        which: the checkpoint of a run folder, as `open_checkpoint` takes it.

    Raises:
        UserError: as of `predict_files`, or there is no intact checkpoint.
    """

    def opened() -> tuple[Detector, str]:
        checkpoint = open_checkpoint(trained, which)
        detector = build_detector(checkpoint, config_of(checkpoint, overrides))
        return detector, f"using {checkpoint.choice} ({checkpoint.path})"

    return predict_files(opened, given, out, min_score, recursive)
