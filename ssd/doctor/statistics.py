"""Statistics of a data set: objects by class, their sizes and shapes at the model's input.

A size is the square root of a box's area. Sizes and aspect ratios (width / height) are those in
the image as it is resized to the model's input, without random changes.
Letters: `N` objects, `n` of them at a time, `P` default boxes, `C` classes without background.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ssd.common.progress import Progress
from ssd.common.sides import Size, both
from ssd.geometry.boxes import pairwise_iou, to_corner_form
from ssd.structures import BoolArray, FloatArray, IntArray, Record

SIZE_BOUNDS = {"small": 0.0, "medium": 32.0, "large": 96.0}  # pixels; the bounds are COCO's
QUANTILES = (0, 5, 25, 50, 75, 95, 100)
OVERLAPS_AT_A_TIME = 1 << 18  # 1 MiB, which stays in a CPU's cache


@dataclass(frozen=True)
class Objects:
    """The objects of many images as columns.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | image_index | [N] | int64 | position of the image in the list of images |
    | labels | [N] | int64 | 1 … C |
    | boxes | [N, 4] | float32 | relative to the image |
    """

    image_index: IntArray
    labels: IntArray
    boxes: FloatArray

    def sizes(self, input_size: Size) -> FloatArray:
        """Square roots [N] of the areas, in pixels of the model's input."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        scale = math.sqrt(math.prod(both(input_size)))
        return np.asarray(np.sqrt(sides.prod(1)) * np.float32(scale))

    def aspect_ratios(self, input_size: Size) -> FloatArray:
        """Width / height [N] at the model's input."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        height, width = both(input_size)
        return np.asarray(sides[:, 0] / sides[:, 1] * np.float32(width / height))


@dataclass(frozen=True)
class SizeRow:
    """Objects of one size, and how many of them no default box overlaps enough."""

    name: str
    objects: int
    unmatched: int


@dataclass(frozen=True)
class ClassRow:
    """One class: its objects, the images that have one, and the training objects by size."""

    name: str
    objects: int
    images: int
    eval_objects: int
    eval_images: int
    by_size: tuple[SizeRow, ...]


@dataclass(frozen=True)
class Statistics:
    """The tables of a data set; quantiles are by percentage, and empty without objects."""

    classes: tuple[ClassRow, ...]
    sizes: tuple[SizeRow, ...]
    size_quantiles: dict[int, float]
    aspect_ratio_quantiles: dict[int, float]


def objects_of(records: Sequence[Record], train_difficult: bool) -> Objects:
    """The objects of these records that training sees."""
    counts, labels, boxes = [], [np.empty(0, np.int64)], [np.empty((0, 4), np.float32)]
    for record in records:
        wanted = record.trained_on(train_difficult)
        counts.append(int(wanted.sum()))
        labels.append(record.labels[wanted])
        size = np.array([record.width, record.height] * 2, np.float32)
        boxes.append(record.boxes[wanted] / size)
    image_index = np.repeat(np.arange(len(records)), np.array(counts, np.int64))
    return Objects(image_index, np.concatenate(labels), np.concatenate(boxes))


def unmatched(boxes_N4: FloatArray, default_boxes_P4: Tensor, match_iou: float) -> BoolArray:
    """The mask [N] of boxes (relative, xyxy) that no default box (centre form) overlaps enough.

    Matching still gives each of them one default box, the best that is left.
    """
    with Progress("matching", len(boxes_N4), "object") as progress:
        best_N = best_overlaps(torch.from_numpy(boxes_N4), default_boxes_P4, progress.advance)
    return np.asarray((best_N < match_iou).numpy())


def best_overlaps(
    boxes_N4: Tensor, default_boxes_P4: Tensor, told: Callable[[int], None] = lambda done: None
) -> Tensor:
    """The overlap [N] of each box (relative, xyxy) with the default box (centre form) nearest it.

    `told` takes the number of boxes that are done, again and again.
    """
    corners_P4 = to_corner_form(default_boxes_P4)
    best_N = [torch.empty(0)]
    for boxes_n4 in torch.split(boxes_N4, max(1, OVERLAPS_AT_A_TIME // len(corners_P4))):
        best_N.append(pairwise_iou(boxes_n4, corners_P4).amax(1))
        told(len(boxes_n4))
    return torch.cat(best_N)


def describe(
    train: Objects,
    evaluation: Objects,
    classes: Sequence[str],
    unmatched_N: BoolArray,
    input_size: Size,
) -> Statistics:
    """Builds the tables; `unmatched_N` belongs to the training objects."""
    sizes_N = train.sizes(input_size)
    objects_C, images_C = count(train, len(classes))
    eval_objects_C, eval_images_C = count(evaluation, len(classes))
    rows = tuple(
        ClassRow(
            name,
            objects=int(objects_C[label - 1]),
            images=int(images_C[label - 1]),
            eval_objects=int(eval_objects_C[label - 1]),
            eval_images=int(eval_images_C[label - 1]),
            by_size=size_rows(sizes_N[train.labels == label], unmatched_N[train.labels == label]),
        )
        for label, name in enumerate(classes, start=1)
    )
    return Statistics(
        rows,
        size_rows(sizes_N, unmatched_N),
        quantiles(sizes_N),
        quantiles(train.aspect_ratios(input_size)),
    )


def count(objects: Objects, num_classes: int) -> tuple[IntArray, IntArray]:
    """The number of objects [C] of each class, and the number of images [C] that have one."""
    pairs = np.unique(np.stack([objects.image_index, objects.labels]), axis=1)
    objects_C = np.bincount(objects.labels, minlength=num_classes + 1)[1:]
    images_C = np.bincount(pairs[1], minlength=num_classes + 1)[1:]
    return objects_C, images_C


def size_rows(sizes_N: FloatArray, unmatched_N: BoolArray) -> tuple[SizeRow, ...]:
    """One row for each size, the smallest first."""
    size_N = np.searchsorted(list(SIZE_BOUNDS.values()), sizes_N, side="right") - 1
    return tuple(
        SizeRow(name, int((size_N == size).sum()), int(unmatched_N[size_N == size].sum()))
        for size, name in enumerate(SIZE_BOUNDS)
    )


def quantiles(values_N: npt.NDArray[np.floating]) -> dict[int, float]:
    """The quantiles at 0, 5, 25 … per cent, by percentage; empty without values."""
    if not len(values_N):
        return {}
    found = np.quantile(values_N.astype(np.float64), np.array(QUANTILES) / 100)
    return dict(zip(QUANTILES, found.tolist(), strict=True))
