"""Runs an exported file on pictures, videos and streams, without PyTorch."""

from __future__ import annotations

from pathlib import Path

from ssd.deploy.runtime import ExportedDetector
from ssd.detect.drawn import Truth
from ssd.detect.predict_files import Order, Predicted, predict_files


def predict_exported(
    file: Path, order: Order, truth: Truth | None = None, trust: bool = False
) -> Predicted:
    """Detects objects by an exported file, as `predict_files` does.

    Args:
        file: ends in .onnx, .xml or .pt2.
        order: what to predict, and what to write.
        truth: the ground truth to draw beside the objects; None for none.
        trust: as ExportedFile takes it.

    Raises:
        UserError: as of `predict_files` and `ExportedDetector`.
    """

    def opened() -> tuple[ExportedDetector, str]:
        detector = ExportedDetector(file, trust)
        return detector, f"using {file}: run {detector.facts.run}, step {detector.facts.step}"

    return predict_files(opened, order, truth)
