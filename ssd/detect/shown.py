"""The evaluated images to show, with what was found in them and what is there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ssd.common.errors import UserError
from ssd.data.image import read_pixels
from ssd.evaluation.detections import DetectionTable
from ssd.report.pictures import SHOWN_SCORE, Box, Picture, boxes
from ssd.structures import DataSet, Record


def pictures(
    data: DataSet, table: DetectionTable, count: int, score: float = SHOWN_SCORE
) -> list[Picture]:
    """`count` images, spread over the data set, with their predictions and ground truth.

    The predictions are those of at least `score`. An image that can no longer be read is passed
    over.
    """
    chosen = np.linspace(0, len(data.records) - 1, min(count, len(data.records))).astype(int)
    shown = []
    for index in chosen.tolist():
        with suppress(UserError):
            shown.append(picture(data, table, index, score))
    return shown


def picture(data: DataSet, table: DetectionTable, index: int, score: float) -> Picture:
    """An image with its ground truth and its predictions of at least `score`.

    Raises:
        UserError: it cannot be read.
    """
    record = data.records[index]
    rows = (table.image_index == index) & (table.scores >= score)
    scores = table.scores[rows].tolist()
    return Picture(
        record.image_id,
        read_pixels(record),
        boxes(data.classes, table.labels[rows].tolist(), table.boxes[rows], scores),
        ground_truth(record, data.classes),
    )


def ground_truth(record: Record, classes: Sequence[str]) -> list[Box]:
    """The annotated objects of an image."""
    return boxes(classes, record.labels.tolist(), record.boxes, [None] * len(record.labels))
