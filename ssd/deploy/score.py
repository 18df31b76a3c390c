"""The mean average precision of an exported file beside that of the model in float32."""

from __future__ import annotations

from pathlib import Path

from ssd.common.words import counted
from ssd.config import Config
from ssd.deploy.evaluate import detect_each
from ssd.deploy.program import with_suppression
from ssd.deploy.runtime import ExportedDetector, ExportedFile
from ssd.deploy.smaller import Numbers
from ssd.detect.detector import Detected, Detector, detect
from ssd.evaluation.measure import measure
from ssd.evaluation.seen import without
from ssd.structures import DataSet

POINT = 0.01
LOST = 1.0  # points of the mean average precision, above which a drop is said loudly


class RawDetector(ExportedDetector):
    """Finds objects by an exported file that gives raw scores, with PyTorch's suppression."""

    def __init__(self, path: Path) -> None:
        ExportedFile.__init__(self, path)
        self._run = with_suppression(self._run, self.facts)
        self.classes = self.facts.classes


def score_change(
    detector: Detector,
    file: ExportedDetector,
    data: DataSet | None,
    config: Config,
    numbers: Numbers,
) -> str:
    """Tells the mean average precision of the model and of the file on all of `data`."""
    if data is None:
        return f"mAP in {numbers}: not measured, since --images takes the place of the data"

    def score(found: Detected) -> float:
        seen, table = without(data, found.table, found.left_out)
        return measure(seen, table, config.evaluation).mAP

    print("evaluating the model in float32, then the file", flush=True)
    before = score(detect(detector, data.records, config.data.workers))
    return told_change(before, score(detect_each(file, data.records)), numbers, len(data.records))


def told_change(before: float, after: float, numbers: Numbers, images: int) -> str:
    """A line with both scores, 0 … 1, and a loud one if the file has lost more than `LOST`."""
    text = f"mAP on {counted(images, 'image')}: {before:.4f} in float32, {after:.4f} in {numbers}"
    points = (before - after) / POINT
    if points <= LOST:
        return text
    return f"{text}\nWARNING: {numbers} LOSES {points:.1f} POINTS OF mAP"
