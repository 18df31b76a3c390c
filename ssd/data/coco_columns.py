"""The annotations of a COCO file as columns."""

from __future__ import annotations

from array import array

import msgspec
import numpy as np
import numpy.typing as npt

from ssd.common.untrusted import short
from ssd.common.words import counted
from ssd.data.coco_entries import AnnotationEntry, Key, as_key, image_of
from ssd.data.coco_lists import EntryReader
from ssd.structures import IntArray

ID_MISSING = "annotation id missing"
ID_REPEATED = "annotation id repeated"
SWAPPED = "corners swapped"
NO_IMAGE = -1  # in the place of an image without a file


class Columns:
    """The annotations of a file in columns that grow, one row for each that makes sense.

    Attributes:
        broken: what is wrong with the others, by the position of their image.
        strays: what is wrong with those of no image of the file; one for each image that they name.
    """

    def __init__(self, images: dict[Key, int], categories: list[Key]) -> None:
        self.images = images
        self.position = {key: position for position, key in enumerate(categories)}
        self.image_index, self.category, self.number = array("q"), array("q"), array("q")
        self.boxes, self.areas, self.crowd = array("d"), array("d"), array("b")
        self.broken: dict[int, list[str]] = {}
        self.strays: dict[Key, str] = {}

    def take(self, entry: AnnotationEntry, number: int, faults: set[str]) -> None:
        """Adds an annotation; skips that of an image without a file, which is reported already."""
        image_id = as_key("image_id", entry.image_id, faults)
        category_id = as_key("category_id", entry.category_id, faults)
        place, position = self.images.get(image_id), self.position.get(category_id)
        if place is None:
            known = f"none of the {counted(len(self.images), 'image')}"
            raise ValueError(f"image_id {short(image_id)} is {known}")
        if position is None:
            known = f"none of {counted(len(self.position), 'category')}"
            raise ValueError(f"category_id {short(category_id)} is {known}")
        if place == NO_IMAGE:
            return
        if entry.id is None:
            faults.add(ID_MISSING)
        width, height = entry.bbox[2:]
        self.image_index.append(place)
        self.category.append(position)
        self.boxes.extend(entry.bbox)
        self.areas.append(abs(width * height) if entry.area is msgspec.UNSET else entry.area)
        self.crowd.append(entry.iscrowd)
        self.number.append(entry.id if isinstance(entry.id, int) else -number)

    def lose(self, raw: msgspec.Raw, problem: str) -> None:
        """Keeps what is wrong with an annotation that makes no sense."""
        image_id = image_of(raw)
        place = None if image_id is None else self.images.get(image_id)
        if place is None:
            self.strays.setdefault(problem if image_id is None else image_id, problem)
        elif place != NO_IMAGE:
            self.broken.setdefault(place, []).append(problem)


def with_positive_sides(columns: Columns, reader: EntryReader) -> npt.NDArray[np.float64]:
    """The boxes; one that was drawn from its right or lower side starts at the other one."""
    boxes_N4 = np.array(columns.boxes).reshape(-1, 4)
    swapped = (boxes_N4[:, 2:] < 0).any(1)
    if swapped.any():
        boxes_N4[:, :2] += boxes_N4[:, 2:].clip(max=0)
        boxes_N4[:, 2:] = abs(boxes_N4[:, 2:])
        first = int(swapped.argmax())
        reader.count(SWAPPED, int(swapped.sum()), called(columns.number[first]))
    return boxes_N4


def unique_numbers(columns: Columns, reader: EntryReader) -> IntArray:
    """The annotations' numbers; one that repeats an id gets the number of its row instead."""
    number_N = np.array(columns.number)
    unique, firsts = np.unique(number_N, return_index=True)
    if len(unique) < len(number_N):
        repeated = np.ones(len(number_N), np.bool_)
        repeated[firsts] = False
        first = called(number_N[repeated][0])
        reader.count(ID_REPEATED, int(repeated.sum()), first)
        number_N[repeated] = -1 - np.flatnonzero(repeated)
    return number_N


def called(number: int) -> str:
    """An annotation in a message."""
    return f"annotation id {number}" if number >= 0 else f"annotation number {-number}"
