"""Annotations → DataSet: one set of rules for the objects of every format.

These are not errors; they are counted in `DataSet.counts`:

- `objects`: all objects that were read, including those below.
- `other_class`: left out because the class is not in the given list.
- `crowd`: COCO's; never trained on; evaluation neither counts nor penalises detections there.
- `degenerate`: left out of training because the box has no area, or lies outside the image.
- `clamped`: kept, but clipped at the border of the image.

COCO's own evaluation takes boxes and areas as they are in the file: see `DataSet.truth`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssd.common.untrusted import LARGEST_COORDINATE
from ssd.data.annotations import Annotations
from ssd.data.doubts import doubt_of
from ssd.data.findings import Findings
from ssd.data.records import Records
from ssd.structures import BoolArray, CocoTruth, DataSet, IntArray


def settle(found: Annotations, classes: Sequence[str], findings: Findings) -> DataSet:
    """The data set of these classes, in their order.

    Args:
        found: by a reader.
        classes: the names of the labels from 1 on; objects of others are left out and counted.
        findings: receives the boxes that are left out or changed.
    """
    label_of = {name: label for label, name in enumerate(classes, start=1)}
    labels_by_category = np.array([0, *(label_of.get(name, 0) for name in found.names)], np.int64)
    labels_N = labels_by_category[found.category + 1]
    known = labels_N > 0
    sizes_I2 = np.array([(image.width, image.height) for image in found.images]).reshape(-1, 2)
    clamped = np.clip(found.corners, 0, np.tile(sizes_I2[found.image_index], 2))
    boxes = clamped.astype(np.float32)
    sound = found.sound & (boxes[:, 2:] > boxes[:, :2]).all(1)
    # In float32, in which a sum of COCO's x and width does not stick out by its rounding.
    corners = found.corners.clip(-LARGEST_COORDINATE, LARGEST_COORDINATE).astype(np.float32)
    cut = sound & (boxes != corners).any(1)
    counts = {"objects": len(labels_N), "other_class": int((~known).sum())}
    if found.category_ids is not None:
        counts["crowd"] = int((known & found.crowd).sum())
    for kind, rows in (("degenerate", known & ~sound), ("clamped", known & cut)):
        counts[kind] = int(rows.sum())
        _tell_boxes(found, kind, rows, findings)
    kept = np.flatnonzero(known & sound)
    kept = kept[np.argsort(found.image_index[kept], kind="stable")]
    records = Records(
        image_ids=[image.image_id for image in found.images],
        paths=[str(image.path) for image in found.images],
        sizes=sizes_I2,
        ends=np.searchsorted(found.image_index[kept], np.arange(len(found.images)), "right"),
        boxes=boxes[kept],
        labels=labels_N[kept],
        difficult=found.difficult[kept],
        crowd=found.crowd[kept],
        orientations=np.array([image.orientation for image in found.images], np.int64),
    )
    ids = found.category_ids
    return DataSet(
        records,
        tuple(classes),
        counts,
        None if ids is None else tuple(ids.get(name) for name in classes),
        None if ids is None else _truth(found, labels_N),
        _left_out(found, known),
        dict(found.repairs),
        doubt=doubt_of(found, classes),
        unlabelled=sum(image.source == image.path for image in found.images),
    )


def _tell_boxes(found: Annotations, kind: str, rows: BoolArray, findings: Findings) -> None:
    for row in np.flatnonzero(rows).tolist():
        image = found.images[found.image_index[row]]
        where = f"{image.source}: {found.called(row)}"
        findings.odd(f"{kind} box", f"{where} in an image of {image.width}x{image.height}")


def _truth(found: Annotations, labels_N: IntArray) -> CocoTruth:
    assert found.sides is not None
    assert found.areas is not None
    known = labels_N > 0
    return CocoTruth(
        found.image_index[known],
        labels_N[known],
        found.sides[known],
        found.areas[known],
        found.crowd[known],
    )


def _left_out(found: Annotations, known: BoolArray) -> dict[str, list[Path]]:
    """For each class that is not wanted, the file of each of its objects."""
    left_out: dict[str, list[Path]] = {}
    for row in np.flatnonzero(~known).tolist():
        name = found.names[found.category[row]]
        left_out.setdefault(name, []).append(found.images[found.image_index[row]].source)
    return left_out
