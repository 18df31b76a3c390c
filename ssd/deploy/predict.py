"""Runs an exported file on image files, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.deploy.runtime import ExportedDetector
from ssd.detect.drawn import Predicted, predict_files


def predict_exported(
    file: Path,
    given: Sequence[Path],
    out: Path,
    min_score: float,
    recursive: bool = False,
    trust: bool = False,
) -> Predicted:
    """Detects objects in images by an exported file, as `predict_files` does.

    Args:
        file: ends in .onnx, .xml or .pt2.
        given: image files and folders of them.
        out: folder for a drawn copy of every image, and one detections.json.
        min_score: detections below it are neither drawn nor written.
        recursive: take the images of subfolders too.
        trust: as ExportedFile takes it.

    Raises:
        UserError: as of `predict_files` and `ExportedDetector`.
    """

    def opened() -> tuple[ExportedDetector, str]:
        detector = ExportedDetector(file, trust)
        return detector, f"using {file}: run {detector.facts.run}, step {detector.facts.step}"

    return predict_files(opened, given, out, min_score, recursive)
