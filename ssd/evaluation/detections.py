"""Detections of a whole data set as columns, and the JSON file that holds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.common.untrusted import as_box, as_number, read_json, required, short


@dataclass(frozen=True)
class DetectionTable:
    """The detections of many images: one row for each of D detections, in any order.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | image_index | [D] | int64 | position of the image in the list of images |
    | labels | [D] | int64 | 1 … C−1 |
    | scores | [D] | float64 | higher is more confident |
    | boxes | [D, 4] | float64 | xyxy, pixels, 0-based, half-open |
    | given_bbox | [D, 4] | float64 | x, y, width, height as a file had them; else None |
    """

    image_index: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.float64]
    given_bbox: npt.NDArray[np.float64] | None = None

    @property
    def bbox(self) -> npt.NDArray[np.float64]:
        """The boxes as x, y, width, height; those read from a file keep every digit."""
        if self.given_bbox is not None:
            return self.given_bbox
        return np.concatenate([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]], 1)

    def __len__(self) -> int:
        """The number of detections."""
        return len(self.scores)


def write_detections(
    path: Path,
    detections: DetectionTable,
    image_ids: Sequence[int | str],
    classes: Sequence[str],
    category_ids: Sequence[int | str | None] | None = None,
) -> None:
    """Writes `detections` as a JSON list of {"image_id", "category", "bbox", "score"}.

    `bbox` is [x, y, width, height] in 0-based pixels. Every number keeps all its digits: scores
    come back bit for bit, and so do boxes of float32 precision that start inside the image
    (x, y ≥ 0). `classes` are the names from label 1 on. With their COCO `category_ids`, entries
    also have a "category_id" where it is not None, and the file is in COCO's results format. The
    file appears whole or not at all.
    """
    rows = zip(
        detections.image_index.tolist(),
        detections.labels.tolist(),
        detections.bbox.tolist(),
        detections.scores.astype(np.float64).tolist(),
        strict=True,
    )
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    named: list[dict[str, Any]] = [{"category": name} for name in classes]
    if category_ids is not None:
        for one, category_id in zip(named, category_ids, strict=True):
            one |= {} if category_id is None else {"category_id": category_id}
    lines = [
        encode({"image_id": image_ids[image], **named[label - 1], "bbox": bbox, "score": score})
        for image, label, bbox, score in rows
    ]
    write_whole(path, "[\n" + ",\n".join(lines) + "\n]\n")


def read_detections(
    path: Path,
    image_ids: Sequence[int | str],
    classes: Sequence[str],
    category_ids: Sequence[int | str | None] | None = None,
) -> DetectionTable:
    """Reads a file in the format of `write_detections`; unknown keys are ignored.

    Args:
        path: the JSON file.
        image_ids: the images that may occur; `image_index` is a position in this list.
        classes: the categories that may occur, from label 1 on.
        category_ids: their COCO ids, which may then be given as "category_id" instead of
            "category".

    Raises:
        UserError: the file is missing or not a JSON list, or an entry (counted from 1) lacks a
            field or holds a value that the field does not allow.
    """
    index_of: dict[Any, int] = {image_id: index for index, image_id in enumerate(image_ids)}
    label_of = {name: label for label, name in enumerate(classes, start=1)}
    numbered = enumerate(category_ids or (), start=1)
    label_of_id = {category_id: label for label, category_id in numbered if category_id is not None}
    entries = read_json(path)
    if not isinstance(entries, list):
        found = type(entries).__name__
        raise UserError(f"{path}: holds a {found}, but has to hold a list of detections")
    rows = []
    for place, entry in enumerate(entries, start=1):
        try:
            rows.append(_parse_entry(entry, index_of, label_of, label_of_id))
        except ValueError as problem:
            raise UserError(f"{path}: entry {place}: {problem}") from None
    images, labels, scores, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    bbox_D4 = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return DetectionTable(
        image_index=np.array(images, dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        scores=np.array(scores, dtype=np.float64),
        boxes=np.concatenate([bbox_D4[:, :2], bbox_D4[:, :2] + bbox_D4[:, 2:]], 1),
        given_bbox=bbox_D4,
    )


def _parse_entry(
    entry: Any,
    index_of: dict[Any, int],
    label_of: dict[str, int],
    label_of_id: dict[int | str, int],
) -> tuple[int, int, float, list[float]]:
    """(image index, label, score, [x, y, w, h]) of one entry; raises ValueError if it is wrong."""
    image_id, bbox, score = required(entry, "image_id", "bbox", "score")
    index = index_of.get(image_id) if type(image_id) in (int, str) else None
    if index is None:
        kind = "COCO id" if label_of_id else "file stem (in quotes)"
        known = f"the {kind} of one of the {len(index_of)} images evaluated"
        raise ValueError(f"image_id is {short(image_id)}, but has to be {known}")
    field = "category" if "category" in entry or not label_of_id else "category_id"
    (category,) = required(entry, field)
    labels: dict[Any, int] = label_of if field == "category" else label_of_id
    label = labels.get(category) if type(category) in (int, str) else None
    if label is None:
        known = f"one of the {len(label_of)} classes of the data; data.classes may name more"
        raise ValueError(f"{field} is {short(category)}, but has to be {known}")
    sides = as_box(bbox)
    if min(sides[2:]) < 0:
        raise ValueError(f"bbox is {short(bbox)}, but has to be a box in pixels")
    return index, label, as_number("score", score), sides
