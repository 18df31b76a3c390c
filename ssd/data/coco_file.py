"""Reads one COCO annotation file into columns, and checks every entry."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from ssd.common.errors import UserError
from ssd.common.untrusted import MOST_CLASSES, MOST_OBJECTS, as_name, check_pixels, short
from ssd.data.coco_entries import (
    AnnotationEntry,
    CategoryEntry,
    ImageEntry,
    Key,
    as_key,
    mend_annotation,
    mend_category,
    mend_image,
)
from ssd.data.coco_lists import EntryReader, Take, read_lists
from ssd.data.findings import Findings
from ssd.data.names import FileIndex
from ssd.structures import BoolArray, IntArray

ID_MISSING = "annotation id missing"
ID_REPEATED = "annotation id repeated"
SWAPPED = "corners swapped"
ROOT = "category that only groups the others, left out"
NO_IMAGE = -1
IMAGE_TWICE = "one image under two ids"


class Image(NamedTuple):
    """An entry of `images` with its file; its sides are 0 if they are not known."""

    key: Key
    path: Path
    width: int
    height: int


@dataclass(frozen=True)
class AnnotationFile:
    """An annotation file; the columns have one row for each valid annotation.

    `category` is a position in `categories`, which has None for what is no class. `number` is the
    annotation's id, or −n for the n-th entry if it has no id of its own.
    """

    path: Path
    images: list[Image]
    categories: list[CategoryEntry | None]
    image_index: IntArray
    category: IntArray
    boxes: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    crowd: BoolArray
    number: IntArray
    repairs: Counter[str]


def read_annotation_file(
    path: Path,
    folders: Sequence[Path],
    index: FileIndex,
    classes: Sequence[str] | None,
    findings: Findings,
) -> AnnotationFile:
    """Reads and checks the annotation file `path`.

    Invalid entries, and images without a file, are reported to `findings` and left out.

    Args:
        path: the file.
        folders: where its images are looked for first.
        index: finds the images.
        classes: the wanted ones, if they are known.
        findings: receives the problems.

    Raises:
        UserError: it is not an annotation file at all, none of its images is there, or it exceeds
            a limit.
    """
    lists = read_lists(path)
    if len(lists.categories) > MOST_CLASSES:
        found = len(lists.categories)
        raise UserError(f"{path}: has {found} categories, but at most {MOST_CLASSES} are allowed")
    reader = EntryReader(path, findings)
    categories: dict[Key, CategoryEntry] = {}
    take_category, images = _category_taker(categories), _Images(index, folders)
    reader.read("category", lists.categories, CategoryEntry, mend_category, take_category)
    reader.read("image", lists.images, ImageEntry, mend_image, images.take)
    images.tell(path, findings)
    columns = _Columns(images.place, list(categories))
    reader.read("annotation", lists.annotations, AnnotationEntry, mend_annotation, columns.take)
    del lists  # they hold the text of the file
    file = AnnotationFile(
        path=path,
        images=images.found,
        categories=_without_root(list(categories.values()), columns.category, classes, reader),
        image_index=np.array(columns.image_index),
        category=np.array(columns.category),
        boxes=_with_positive_sides(columns, reader),
        areas=np.array(columns.areas),
        crowd=np.array(columns.crowd).astype(np.bool_),
        number=_unique_numbers(columns, reader),
        repairs=reader.repairs,
    )
    reader.tell()
    _check_limit(file)
    return file


def _category_taker(categories: dict[Key, CategoryEntry]) -> Take[CategoryEntry]:
    """Returns a function that fills `categories`."""

    def take(entry: CategoryEntry, number: int, faults: set[str]) -> None:
        key = as_key("id", entry.id, faults)
        if key in categories:
            raise ValueError("another category has this id")
        categories[key] = CategoryEntry(key, as_name("name", entry.name), entry.supercategory)

    return take


class _Images:
    """The images of a file.

    Attributes:
        found: those that have a file.
        place: for each id that the list has, the position in `found`, or NO_IMAGE.
        places: the position in `found` of each file.
        lost: tells what is wrong with each that has no file.
    """

    def __init__(self, index: FileIndex, folders: Sequence[Path]) -> None:
        self.index, self.folders = index, folders
        self.found: list[Image] = []
        self.place: dict[Key, int] = {}
        self.places: dict[Path, int] = {}
        self.lost: list[str] = []

    def take(self, entry: ImageEntry, number: int, faults: set[str]) -> None:
        """Looks for the file of an image."""
        key = as_key("id", entry.id, faults)
        if key in self.place:
            raise ValueError("another image has this id")
        self.place[key] = NO_IMAGE
        check_pixels(entry.width, entry.height)
        where = f"image id {key}: file_name {short(entry.file_name)}"
        try:
            file = self.index.find(entry.file_name, self.folders)
        except ValueError as problem:
            self.lost.append(f"{where}: {problem}")
            return
        if file is None:
            self.lost.append(f"{where} is not a file below {self.index.root}")
            return
        if file.repair:
            faults.add(file.repair)
        if file.path in self.places:  # some tools list an image anew for each part of its objects
            faults.add(IMAGE_TWICE)
            self.place[key] = self.places[file.path]
            return
        self.place[key] = self.places[file.path] = len(self.found)
        self.found.append(Image(key, file.path, entry.width, entry.height))

    def tell(self, path: Path, findings: Findings) -> None:
        """Tells of the images that have no file; refuses a list none of whose images has one."""
        if not self.found and not self.lost:
            raise UserError(f"{path}: lists no image")
        if not self.found:
            where = self.folders[0] if self.folders else self.index.root
            lost = f"none of its {len(self.place)} images is there: {self.lost[0]}"
            raise UserError(f"{path}: {lost}: put them into {where}")
        for problem in self.lost:
            findings.unusable("missing image", f"{path}: {problem}")


class _Columns:
    """The annotations of a file in columns that grow."""

    def __init__(self, images: dict[Key, int], categories: list[Key]) -> None:
        self.images = images
        self.position = {key: position for position, key in enumerate(categories)}
        self.image_index, self.category, self.number = array("q"), array("q"), array("q")
        self.boxes, self.areas, self.crowd = array("d"), array("d"), array("b")

    def take(self, entry: AnnotationEntry, number: int, faults: set[str]) -> None:
        """Adds an annotation; skips that of an image without a file, which is reported already."""
        image_id = as_key("image_id", entry.image_id, faults)
        category_id = as_key("category_id", entry.category_id, faults)
        place, position = self.images.get(image_id), self.position.get(category_id)
        if place is None:
            raise ValueError(f"image_id {short(image_id)} is none of the {len(self.images)} images")
        if position is None:
            known = f"none of {len(self.position)} categories"
            raise ValueError(f"category_id {short(category_id)} is {known}")
        if place == NO_IMAGE:
            return
        if entry.id is None:
            faults.add(ID_MISSING)
        width, height = entry.bbox[2:]
        self.image_index.append(place)
        self.category.append(position)
        self.boxes.extend(entry.bbox)
        self.areas.append(abs(width * height) if entry.area is UNSET else entry.area)
        self.crowd.append(entry.iscrowd)
        self.number.append(entry.id if isinstance(entry.id, int) else -number)


def _with_positive_sides(columns: _Columns, reader: EntryReader) -> npt.NDArray[np.float64]:
    """The boxes; one that was drawn from its right or lower side starts at the other one."""
    boxes_N4 = np.array(columns.boxes).reshape(-1, 4)
    swapped = (boxes_N4[:, 2:] < 0).any(1)
    if swapped.any():
        boxes_N4[:, :2] += boxes_N4[:, 2:].clip(max=0)
        boxes_N4[:, 2:] = abs(boxes_N4[:, 2:])
        first = int(swapped.argmax())
        reader.count(SWAPPED, int(swapped.sum()), called(columns.number[first]))
    return boxes_N4


def _unique_numbers(columns: _Columns, reader: EntryReader) -> IntArray:
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


def _without_root(
    categories: list[CategoryEntry],
    used: Iterable[int],
    classes: Sequence[str] | None,
    reader: EntryReader,
) -> list[CategoryEntry | None]:
    """The categories, with None for the one that only groups the others: Roboflow adds one.

    No object has it, and it is the `supercategory` of all others, one of which may have its name.
    """
    parents = Counter(entry.supercategory for entry in categories)
    names = Counter(entry.name for entry in categories)
    unused = set(range(len(categories))) - set(used)
    kept: list[CategoryEntry | None] = list(categories)
    for position in sorted(unused):
        entry = categories[position]
        children = parents[entry.name] - (entry.supercategory == entry.name)
        wanted = entry.name in (classes or ()) and names[entry.name] == 1
        if children == len(categories) - 1 > 0 and not wanted:
            kept[position] = None
            reader.count(ROOT, 1, f"category {entry.name!r}")
            break
    ids: dict[str, Key] = {}
    for entry in filter(None, kept):
        if entry.name in ids:
            twice = f"category id {ids[entry.name]} has the name {entry.name!r} too"
            told = f"{reader.path}: category id {entry.id}: {twice}: rename one of them"
            reader.findings.broken("broken category", told)
        ids.setdefault(entry.name, entry.id)
    return kept


def _check_limit(file: AnnotationFile) -> None:
    objects_I = np.bincount(file.image_index, minlength=1)
    if (most := int(objects_I.max())) > MOST_OBJECTS:
        image_id = file.images[int(objects_I.argmax())].key
        raise UserError(
            f"{file.path}: image id {image_id} has {most} objects, but at most {MOST_OBJECTS} are "
            "allowed: leave that image out"
        )
