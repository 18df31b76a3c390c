"""An evaluation of the images that could be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ssd.evaluation.detections import DetectionTable
from ssd.structures import CocoTruth, DataSet


def without(
    data: DataSet, table: DetectionTable, left_out: Mapping[int, str]
) -> tuple[DataSet, DetectionTable]:
    """The data set and its detections without some images, whose objects no metric counts.

    Args:
        data: the images; `table.image_index` is a position among them.
        table: the detections, none of them in the images to leave out.
        left_out: what is wrong with an image, by its position.
    """
    if not left_out:
        return data, table
    seen = np.ones(len(data.records), np.bool_)
    seen[list(left_out)] = False
    places = np.cumsum(seen) - 1
    truth = data.truth
    if truth is not None:
        rows = seen[truth.image_index]
        truth = CocoTruth(
            places[truth.image_index[rows]],
            truth.labels[rows],
            truth.boxes[rows],
            truth.areas[rows],
            truth.crowd[rows],
        )
    records = [data.records[index] for index in np.flatnonzero(seen).tolist()]
    unusable = (*data.unusable, *left_out.values())
    data = replace(data, records=records, truth=truth, unusable=unusable)
    return data, replace(table, image_index=places[table.image_index])
