"""Reads one COCO annotation file into columns, and checks every entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.common.untrusted import MOST_CLASSES, MOST_OBJECTS, as_name, check_pixels, short
from ssd.common.words import counted
from ssd.data.coco_columns import NO_IMAGE, Columns, unique_numbers, with_positive_sides
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
from ssd.data.findings import Collect, Findings
from ssd.data.names import FileIndex
from ssd.structures import BoolArray, IntArray

ROOT = "category that only groups the others, left out"
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
    annotation's id, or −n for the n-th entry if it has no id of its own. `broken` tells what is
    wrong with other annotations, by the position of their image.
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
    broken: dict[int, list[str]]


def read_annotation_file(
    path: Path,
    folders: Sequence[Path],
    index: FileIndex,
    classes: Sequence[str] | None,
    findings: Findings,
) -> AnnotationFile:
    """Reads and checks the annotation file `path`.

    Invalid images and categories, images without a file, and annotations of no image are reported
    to `findings` and left out.

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
    columns = Columns(images.place, list(categories))
    reader.read(
        "annotation",
        lists.annotations,
        AnnotationEntry,
        mend_annotation,
        columns.take,
        columns.lose,
    )
    for problem in columns.strays.values():
        findings.unusable("annotation without image", problem)
    del lists  # they hold the text of the file
    file = AnnotationFile(
        path=path,
        images=images.found,
        categories=_without_root(list(categories.values()), columns.category, classes, reader),
        image_index=np.array(columns.image_index),
        category=np.array(columns.category),
        boxes=with_positive_sides(columns, reader),
        areas=np.array(columns.areas),
        crowd=np.array(columns.crowd).astype(np.bool_),
        number=unique_numbers(columns, reader),
        repairs=reader.repairs,
        broken=columns.broken,
    )
    reader.tell()
    _check_limit(file)
    return file


def listed_images(path: Path, folders: Sequence[Path], index: FileIndex) -> set[Path]:
    """The image files that the annotation file `path` lists, as `read_annotation_file` finds them.

    Raises:
        UserError: it is not an annotation file at all.
    """
    images = _Images(index, folders)
    entries = read_lists(path).images
    EntryReader(path, Collect()).read("image", entries, ImageEntry, mend_image, images.take)
    return set(images.places)


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
            first = f"{counted(len(self.place), 'image')}; the first: {self.lost[0]}"
            raise UserError(
                f"{path}: no image that it lists is there ({first}): put them into {where}"
            )
        for problem in self.lost:
            findings.unusable("missing image", f"{path}: {problem}")


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
