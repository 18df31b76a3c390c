"""Rules for the boxes of a data set, over all images at once: 100,000 images one by one are slow.

Crowds are no objects of their own. Boxes in the findings are xyxy in 0-based pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssd.common.sides import Size, both, in_words
from ssd.data.findings import Finding
from ssd.structures import DataSet, FloatArray, IntArray

SAME_OBJECT_IOU = 0.95
WHOLE_IMAGE = 0.99
PAIRS_AT_A_TIME = 1 << 20


class Boxes:
    """The objects of a data set as columns, without crowds.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | image_index | [N] | int64 | position of the image in the data set, ascending |
    | labels | [N] | int64 | 1 … C−1 |
    | boxes | [N, 4] | float32 | pixels |
    | sizes | [N, 2] | int64 | width and height of the image |
    """

    def __init__(self, data: DataSet) -> None:
        """Collects the objects of all images."""
        self.data = data
        records = [
            (index, record, ~record.crowd)
            for index, record in enumerate(data.records)
            if len(record.labels)
        ]
        counts = np.array([own.sum() for _, _, own in records], np.int64)
        none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        self.image_index: IntArray = np.repeat(
            np.array([index for index, _, _ in records], np.int64), counts
        )
        self.boxes: FloatArray = np.concatenate([none[0], *(r.boxes[own] for _, r, own in records)])
        self.labels: IntArray = np.concatenate([none[1], *(r.labels[own] for _, r, own in records)])
        sizes = np.array([(r.width, r.height) for _, r, _ in records], np.int64).reshape(-1, 2)
        self.sizes: IntArray = np.repeat(sizes, counts, axis=0)

    def path(self, row: int) -> Path:
        """The image of an object."""
        path: Path = self.data.records[int(self.image_index[row])].path
        return path

    def called(self, row: int) -> str:
        """An object in a message."""
        corners = ", ".join(f"{side:g}" for side in self.boxes[row].tolist())
        return f"{self.data.classes[self.labels[row] - 1]!r} at ({corners})"


def box_findings(objects: Boxes, input_size: Size) -> Iterator[Finding]:
    """Boxes below one pixel at the model's input, and boxes that cover the whole image."""
    sides = (objects.boxes[:, 2:] - objects.boxes[:, :2]) / objects.sizes
    height, width = both(input_size)
    tiny = f"is less than a pixel wide or high at {in_words(input_size)} pixels"
    for rows, kind, what in (
        ((sides * (width, height) < 1).any(1), "box below one pixel", tiny),
        ((sides >= WHOLE_IMAGE).all(1), "box of the whole image", "covers the whole image"),
    ):
        for row in np.flatnonzero(rows).tolist():
            yield Finding(kind, False, f"{objects.path(row)}: {objects.called(row)} {what}")


def repeated_boxes(objects: Boxes) -> Iterator[Finding]:
    """Objects that repeat an earlier one: the same object twice, or two classes in one box."""
    kinds = "object annotated twice", "two classes in one box"
    first: tuple[dict[int, int], dict[int, int]] = {}, {}  # the earliest, of each that repeats one
    for earlier, later in _pairs(objects.image_index):
        same_class = objects.labels[earlier] == objects.labels[later]
        one, other = objects.boxes[earlier], objects.boxes[later]
        for repeats, found in zip(
            (
                same_class & (_iou(one, other) >= SAME_OBJECT_IOU),
                ~same_class & (one == other).all(1),
            ),
            first,
            strict=True,
        ):
            for here in np.flatnonzero(repeats).tolist():
                found.setdefault(int(later[here]), int(earlier[here]))
    for kind, found in zip(kinds, first, strict=True):
        for row, other_row in found.items():
            both = f"{objects.called(other_row)} and {objects.called(row)}"
            yield Finding(kind, False, f"{objects.path(row)}: {both}")


def _pairs(image_index: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """All pairs of rows of one image, the earlier row first, some at a time.

    The pairs are in the order of the later row, and then of the earlier one.
    """
    before = np.arange(len(image_index)) - np.searchsorted(image_index, image_index)
    sums = np.cumsum(before)
    start = 0
    while start < len(before):
        done = sums[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(sums, done + PAIRS_AT_A_TIME, side="right")))
        counts = before[start:stop]
        later = np.repeat(np.arange(start, stop), counts)
        place = np.arange(len(later)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield later - np.repeat(counts, counts) + place, later
        start = stop


def _iou(one_N4: FloatArray, other_N4: FloatArray) -> FloatArray:
    """The overlaps [N] of boxes row by row; of boxes without area there are none here."""
    low = np.maximum(one_N4[:, :2], other_N4[:, :2])
    high = np.minimum(one_N4[:, 2:], other_N4[:, 2:])
    shared = (high - low).clip(0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (one_N4, other_N4)]
    return np.asarray(shared / (areas[0] + areas[1] - shared))
