"""What objects a data set has: how many of which class, how large, of which shape.

And which of them no default box overlaps enough: each keeps one box all the same, by the greedy
matching, but has none to spare.

Letters: `N` objects of all images, `P` default boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from ssd.geometry.boxes import pairwise_iou
from ssd.structures import DataSet, FloatArray, IntArray

SMALL, LARGE = 32.0, 96.0  # COCO's limits of sizes in pixels, here at the model's input
SIZES = ("small", "medium", "large")
AT_ONCE = 256
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Objects:
    """The objects of a data set, crowds left out.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | labels | [N] | int64 | 1 … C−1 |
    | image_index | [N] | int64 | position of the image in the records |
    | boxes | [N, 4] | float32 | relative to the image, 0 … 1 |
    | sizes | [N] | float32 | root of the area in pixels at the model's input |
    | ratios | [N] | float32 | width over height there |
    """

    labels: IntArray
    image_index: IntArray
    boxes: FloatArray
    sizes: FloatArray
    ratios: FloatArray

    @property
    def size_class(self) -> IntArray:
        """Index [N] in `SIZES`."""
        return np.digitize(self.sizes, (SMALL, LARGE)).astype(np.int64)


def collect_objects(data: DataSet, input_size: int) -> Objects:
    """The objects of all images, as the model sees them: resized to a square."""
    labels = [record.labels[~record.crowd] for record in data.records]
    boxes = [
        record.boxes[~record.crowd] / np.array([record.width, record.height] * 2, np.float32)
        for record in data.records
    ]
    boxes_N4 = np.concatenate([np.zeros((0, 4), np.float32), *boxes])
    sides = (boxes_N4[:, 2:] - boxes_N4[:, :2]) * input_size
    return Objects(
        np.concatenate([np.zeros(0, np.int64), *labels]),
        np.repeat(np.arange(len(labels)), [len(one) for one in labels]),
        boxes_N4,
        np.sqrt(sides.prod(1)),
        sides[:, 0] / sides[:, 1],
    )


def best_overlaps(boxes_N4: FloatArray, default_boxes_P4: Tensor) -> FloatArray:
    """The highest IoU [N] that any default box [P, 4] (xyxy) has with each box."""
    parts = [np.zeros(0, np.float32)]
    starts = range(0, len(boxes_N4), AT_ONCE)
    for start in tqdm(starts, "matching", unit="batch", leave=False, dynamic_ncols=True):
        some = torch.from_numpy(boxes_N4[start : start + AT_ONCE])
        parts.append(pairwise_iou(some[None], default_boxes_P4)[0].amax(1).numpy())
    return np.concatenate(parts)


def per_class(objects: Objects, num_classes: int) -> tuple[Counts, Counts]:
    """Objects, and images that have one, of each class [C−1]."""
    counts = np.bincount(objects.labels, minlength=num_classes + 1)[1:]
    pairs = np.unique(np.stack([objects.image_index, objects.labels]), axis=1)
    return counts, np.bincount(pairs[1], minlength=num_classes + 1)[1:]


def quantiles(values: FloatArray) -> dict[str, float]:
    """The values below which 5, 25, 50, 75 and 95 % lie; empty where there are none."""
    if len(values) == 0:
        return {}
    found = np.quantile(values, QUANTILES).tolist()
    return {f"{100 * q:g}%": value for q, value in zip(QUANTILES, found, strict=True)}
