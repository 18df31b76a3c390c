"""Runs a trained detector on images: writes drawn copies and detections.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ssd.common.errors import UserError
from ssd.config.settings import Settings
from ssd.detect.inputs import files_in
from ssd.detect.load import build_detector, config_of, open_checkpoint
from ssd.detect.result import Result
from ssd.evaluation.detections import DetectionTable, write_detections
from ssd.report.pictures import encode_jpeg
from ssd.run.names import DETECTIONS

NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


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
    refuse_to_overwrite(files, out)
    results = detector.predict_each(files, min_score)
    bar = tqdm(results, "predicting", len(files), unit="image", dynamic_ncols=True)
    found = []
    for file, result in zip(files, bar, strict=True):
        drawn_file(file, out).write_bytes(encode_jpeg(result.draw()))
        found.append(replace(result, pixels=NO_PIXELS))  # many pictures need not be kept
    table = table_of(found)
    write_detections(out / DETECTIONS, table, [one.image for one in found], detector.classes)
    return (
        f"{len(table)} objects of score {min_score:g} or more in {len(files)} images: drawn in "
        f"{out}, listed in {out / DETECTIONS}"
    )


def table_of(results: Sequence[Result]) -> DetectionTable:
    """The results of several pictures as one table."""
    return DetectionTable(
        np.repeat(np.arange(len(results)), [len(result) for result in results]),
        np.concatenate([result.labels for result in results]),
        np.concatenate([result.scores for result in results]).astype(np.float64),
        np.concatenate([result.boxes for result in results]).astype(np.float64),
    )


def image_files(sources: Sequence[Path]) -> list[Path]:
    """The image files among `sources` and in the folders among them."""
    files: dict[str, Path] = {}
    for source in sources:
        for file in files_in(source) if source.is_dir() else [source]:
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
