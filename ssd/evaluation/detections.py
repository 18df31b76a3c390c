"""Detections of a whole data set as columns, and the JSON file that holds them."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssd.errors import UserError
from ssd.files import write_whole

LARGEST_COORDINATE = 1e9


@dataclass(frozen=True)
class DetectionTable:
    """What was found in many images, one row for each of D detections, in any order.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | image_index | [D] | int64 | position of the image in the list of images |
    | labels | [D] | int64 | 1 … C−1 |
    | scores | [D] | float64 | the higher, the surer |
    | boxes | [D, 4] | float64 | xyxy, pixels, 0-based, half-open |
    """

    image_index: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """The number of detections."""
        return len(self.scores)


def write_detections(
    path: Path, detections: DetectionTable, image_ids: Sequence[str], classes: Sequence[str]
) -> None:
    """Writes `detections` as a JSON list of {"image_id", "category", "bbox", "score"}.

    `bbox` is [x, y, width, height] in 0-based pixels. Every number keeps all its digits: scores
    come back bit for bit, and so do boxes of float32 precision that start inside the image
    (x, y ≥ 0). `classes` are the names from label 1 on. The file appears whole or not at all.
    """
    boxes_D4 = detections.boxes.astype(np.float64)
    sizes_D2 = boxes_D4[:, 2:] - boxes_D4[:, :2]
    rows = zip(
        detections.image_index.tolist(),
        detections.labels.tolist(),
        np.concatenate([boxes_D4[:, :2], sizes_D2], 1).tolist(),
        detections.scores.astype(np.float64).tolist(),
        strict=True,
    )
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    lines = [
        encode(
            {
                "image_id": image_ids[image],
                "category": classes[label - 1],
                "bbox": bbox,
                "score": score,
            }
        )
        for image, label, bbox, score in rows
    ]
    write_whole(path, "[\n" + ",\n".join(lines) + "\n]\n")


def read_detections(path: Path, image_ids: Sequence[str], classes: Sequence[str]) -> DetectionTable:
    """Reads a file as `write_detections` writes it; keys that it does not know are left alone.

    Args:
        path: the JSON file.
        image_ids: the images that may occur; `image_index` counts in this list.
        classes: the categories that may occur, from label 1 on.

    Raises:
        UserError: the file is missing or no JSON list, or an entry (counted from 1) lacks a
            field, or holds something else than the field allows.
    """
    index_of = {image_id: index for index, image_id in enumerate(image_ids)}
    label_of = {name: label for label, name in enumerate(classes, start=1)}
    rows = []
    for number, entry in enumerate(_load_list(path), start=1):
        try:
            rows.append(_parse_entry(entry, index_of, label_of))
        except ValueError as problem:
            raise UserError(f"{path}: entry {number}: {problem}") from None
    images, labels, scores, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    boxes_D4 = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    boxes_D4[:, 2:] += boxes_D4[:, :2]
    return DetectionTable(
        image_index=np.array(images, dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        scores=np.array(scores, dtype=np.float64),
        boxes=boxes_D4,
    )


def _load_list(path: Path) -> list[Any]:
    try:
        entries = json.loads(path.read_bytes())
    except OSError as problem:
        raise UserError(f"{path}: cannot be read ({problem.strerror})") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply; it has to be a flat list") from None
    except ValueError as problem:
        raise UserError(f"{path}: is not JSON ({problem})") from None
    if not isinstance(entries, list):
        found = type(entries).__name__
        raise UserError(f"{path}: holds a {found}, but has to hold a list of detections")
    return entries


def _parse_entry(
    entry: Any, index_of: dict[str, int], label_of: dict[str, int]
) -> tuple[int, int, float, list[float]]:
    """(image index, label, score, [x, y, w, h]) of one entry; ValueError tells what is wrong."""
    if not isinstance(entry, dict):
        raise ValueError(f"is {_short(entry)}, but has to be an object")
    for name in ("image_id", "category", "bbox", "score"):
        if name not in entry:
            raise ValueError(f"has no {name}")
    image_id, category, bbox = entry["image_id"], entry["category"], entry["bbox"]
    index = index_of.get(image_id) if isinstance(image_id, str) else None
    if index is None:
        known = f"one of the {len(index_of)} images evaluated, a file's stem in quotes"
        raise ValueError(f"image_id is {_short(image_id)}, but has to be {known}")
    label = label_of.get(category) if isinstance(category, str) else None
    if label is None:
        known = f"one of the {len(label_of)} classes of the data; data.classes may name more"
        raise ValueError(f"category is {_short(category)}, but has to be {known}")
    if not (isinstance(bbox, list) and len(bbox) == 4):
        raise ValueError(f"bbox is {_short(bbox)}, but has to be [x, y, width, height]")
    x, y, width, height = (_number("bbox", value) for value in bbox)
    if width < 0 or height < 0 or max(abs(x), abs(y), width, height) > LARGEST_COORDINATE:
        raise ValueError(f"bbox is {_short(bbox)}, but has to be a box in pixels")
    return index, label, _number("score", entry["score"]), [x, y, width, height]


def _number(field: str, value: Any) -> float:
    if type(value) in (int, float) and abs(value) < math.inf:
        try:
            return float(value)
        except OverflowError:
            pass
    raise ValueError(f"{field} holds {_short(value)} where a finite number has to be")


def _short(value: object) -> str:
    """One line that shows `value`, cut where it is long."""
    shortener = reprlib.Repr()
    shortener.maxstring = 80
    return shortener.repr(value)
