"""Evaluates an exported file on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ssd.common.errors import UserError
from ssd.common.progress import Progress
from ssd.config import Config
from ssd.config.settings import Settings, merge, parse_yaml, to_config
from ssd.data.image import read_pixels
from ssd.deploy.runtime import ExportedDetector
from ssd.detect.detector import Detected
from ssd.detect.drawn import Truth
from ssd.detect.evaluate import Judged, judge, located, read_data, write_config
from ssd.detect.predict_files import Order
from ssd.detect.result import Result, table_of
from ssd.detect.truth import with_truth
from ssd.evaluation.seen import without
from ssd.run.folder import check_out
from ssd.run.results import origin_of
from ssd.structures import Record

# What an export leaves out: where the data is belongs to the machine, and the file may travel.
PLACES: dict[str, Any] = {"root": "", "images": None, "annotations": None}
# These settings are part of the file.
FIXED = ("score_threshold", "nms_iou", "top_k", "max_detections")


def evaluate_exported(
    file: Path, overrides: Settings, out: Path | None, trust: bool = False
) -> Judged:
    """Evaluates an exported file in its runtime.

    Args:
        file: ends in .onnx, .xml or .pt2.
        overrides: settings that differ from those it was exported with; `data.root` among them.
        out: folder for the results; by default `evaluation_NAME` in the working directory.
        trust: as ExportedFile takes it.

    Raises:
        UserError: the file or the data is invalid, or a setting is part of the file.
    """
    detector = ExportedDetector(file, trust)
    config = located(config_of(detector, overrides))
    folder = out or Path(f"evaluation_{file.stem}")
    check_out(folder, "an evaluation", config.data.root)
    data = read_data(config, detector.classes)
    found = detect_each(detector, data.records)
    data, table = without(data, found.table, found.left_out)
    write_config(folder, config)
    origin = origin_of(config, file, detector.facts.step)
    return judge(table, data, config, folder, origin, [f"using {file}"])


def config_of(detector: ExportedDetector, overrides: Settings) -> Config:
    """The config to evaluate an exported file with: its own, changed by `overrides`.

    Raises:
        UserError: a setting is part of the file, or `data.root` is missing.
    """
    file = detector.path
    for name in FIXED:
        if name in overrides.get("evaluation", {}):
            raise UserError(f"evaluation.{name} is part of {file}: export the run with it")
    if "root" not in overrides.get("data", {}):
        raise UserError(f"{file} does not know where the data is: give --data.root FOLDER")
    settings = parse_yaml(detector.facts.config, f"the settings in {file}")
    if isinstance(settings.get("data"), dict):
        settings["data"].update(PLACES)  # an untrusted file names no other
    merge(settings, overrides)
    return to_config(settings)


def truth_for(
    file: Path, order: Order, overrides: Settings, trust: bool = False
) -> tuple[Order, Truth]:
    """The order of `ssd predict` with the ground truth to show, as `with_truth` gives it.

    Raises:
        UserError: as of `config_of` and `with_truth`.
    """
    check_out(order.out, "predictions")
    detector = ExportedDetector(file, trust)
    return with_truth(order, config_of(detector, overrides), detector.classes)


def detect_each(detector: ExportedDetector, records: Sequence[Record]) -> Detected:
    """The detections of an exported file in the images of `records`, one after another."""
    left_out: dict[int, str] = {}
    found: list[Result] = []
    places: list[int] = []
    with Progress("evaluating", len(records), "image") as progress:
        for place, record in enumerate(records):
            progress.advance()
            try:
                pixels = read_pixels(record)
            except UserError as error:
                left_out[place] = str(error)
                continue
            (result,) = detector.results([(record.image_id, pixels)], min_score=0)
            found.append(replace(result, pixels=pixels[:0]))  # many pictures need not be kept
            places.append(place)
    table = table_of(found)
    return Detected(
        replace(table, image_index=np.array(places, np.int64)[table.image_index]), left_out
    )
