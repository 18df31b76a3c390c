"""Runs a trained detector on images: writes drawn copies and detections.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ssd.common.errors import UserError
from ssd.config.settings import Settings
from ssd.data.cache import Pixels
from ssd.data.dataset import pack
from ssd.data.image import read_image
from ssd.data.voc import IMAGE_SUFFIXES
from ssd.detect.detector import Detector, to_table
from ssd.detect.load import build_detector, config_of, open_checkpoint
from ssd.detect.pictures import boxes
from ssd.evaluation.detections import DetectionTable, write_detections
from ssd.report.pictures import Picture, draw, encode_jpeg
from ssd.run.names import DETECTIONS
from ssd.structures import Detections, Record, Sample


def predict(
    trained: Path, sources: Sequence[Path], overrides: Settings, out: Path, min_score: float
) -> str:
    """Detects objects in images.

    Args:
        trained: run folder or checkpoint.
        sources: image files and folders of them.
        overrides: settings that differ from those it was trained with.
        out: folder for a drawn copy of every image, and one detections.json.
        min_score: detections below it are neither drawn nor written.

    Returns:
        The text to show to the user.

    Raises:
        UserError: an image is missing or cannot be read, or two have the same name.
    """
    files = image_files(sources)
    checkpoint = open_checkpoint(trained)
    detector = build_detector(checkpoint, config_of(checkpoint, overrides))
    out.mkdir(parents=True, exist_ok=True)
    found: list[Detections] = []
    records: list[Record] = []
    refuse_to_overwrite(files, out)
    for file in tqdm(files, desc="predicting", unit="image", dynamic_ncols=True):
        pixels = read_image(file)
        record, detections = detect_one(detector, file, pixels, min_score)
        picture = drawn(detector, record, detections, pixels)
        drawn_file(file, out).write_bytes(encode_jpeg(picture))
        records.append(record)
        found.append(detections)
    table = to_table(found, records)
    image_ids = [record.image_id for record in records]
    write_detections(out / DETECTIONS, table, image_ids, detector.classes)
    return f"{len(table)} objects in {len(files)} images: drawn in {out}, listed in detections.json"


def image_files(sources: Sequence[Path]) -> list[Path]:
    """The image files among `sources` and in the folders among them."""
    files: dict[str, Path] = {}
    for source in sources:
        inside = sorted(source.iterdir()) if source.is_dir() else [source]
        for file in inside:
            if source.is_dir() and file.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            if file.stem in files:
                raise UserError(
                    f"{files[file.stem]} and {file} have the same name: run predict separately "
                    "for each"
                )
            files[file.stem] = file
    if not files:
        raise UserError(f"no image in {', '.join(map(str, sources))}")
    return list(files.values())


def drawn_file(file: Path, out: Path) -> Path:
    """The path for the drawn copy of an image."""
    return out / f"{file.stem}.jpg"


def refuse_to_overwrite(files: Sequence[Path], out: Path) -> None:
    """Raises a UserError if a drawn copy would overwrite one of the images."""
    originals = {file.resolve() for file in files}
    for file in files:
        if drawn_file(file, out).resolve() in originals:
            raise UserError(f"{drawn_file(file, out)} would be overwritten: give another --out")


def detect_one(
    detector: Detector, file: Path, pixels: Pixels, min_score: float
) -> tuple[Record, Detections]:
    """The record of an image without ground truth, and its detections of at least `min_score`."""
    height, width = pixels.shape[:2]
    nothing, unmarked = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64)), np.zeros(0, np.bool_)
    record = Record(file.stem, file, width, height, *nothing, unmarked, unmarked)
    (detections,) = detector(pack([Sample(file.stem, 0, 0, pixels, *nothing)]))
    sure = detections.scores >= min_score
    return record, Detections(
        detections.boxes[sure], detections.scores[sure], detections.labels[sure]
    )


def drawn(detector: Detector, record: Record, detections: Detections, pixels: Pixels) -> Pixels:
    """The image with its detections drawn in."""
    table: DetectionTable = to_table([detections], [record])
    found = boxes(detector.classes, table.labels.tolist(), table.boxes, table.scores.tolist())
    return draw(Picture(record.image_id, pixels, found))
