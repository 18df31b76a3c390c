"""Reads one COCO annotation file into columns, and checks every entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.common.untrusted import (
    MOST_CLASSES,
    MOST_OBJECTS,
    as_box,
    as_name,
    as_number,
    as_whole,
    check_pixels,
    read_json,
    required,
    short,
)
from ssd.data.findings import Findings
from ssd.data.links import list_folder, real_folders, refuse_to_leave
from ssd.structures import BoolArray, IntArray


@dataclass(frozen=True)
class Image:
    """An entry of `images`."""

    image_id: int
    path: Path
    width: int
    height: int


@dataclass(frozen=True)
class AnnotationFile:
    """An annotation file; the columns have one row for each valid annotation."""

    path: Path
    images: list[Image]
    categories: dict[str, int]
    image_index: IntArray
    category: IntArray
    boxes: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    crowd: BoolArray
    annotation_id: IntArray


def read_annotation_file(
    path: Path, folders: Sequence[Path], root: Path, findings: Findings
) -> AnnotationFile:
    """Reads and checks the annotation file `path`.

    Its images are in the first of `folders` that contains the first image. Links in that folder
    may lead to files in it or below `root`. Invalid entries are reported to `findings` and left
    out.

    Raises:
        UserError: it is not an annotation file at all, lists no image, or exceeds a limit.
    """
    content = _read_lists(path)
    folder = _folder_of(content["images"], folders)
    categories: dict[str, int] = {}
    _each(content["categories"], path, "category", findings, _category_reader(categories))
    images: dict[int, Image] = {}
    named: set[int] = set()
    _each(content["images"], path, "image", findings, _image_reader(images, named, folder, root))
    if not images:
        raise UserError(f"{path}: lists no image")
    rows: list[tuple[Any, ...]] = []
    reader = _annotation_reader(rows, list(images), named, set(categories.values()))
    _each(content["annotations"], path, "annotation", findings, reader)
    columns = zip(*rows, strict=True) if rows else iter([()] * 6)
    index, category, boxes, areas, crowd, annotation_id = columns
    fullest, objects = Counter(index).most_common(1)[0] if index else (0, 0)
    if objects > MOST_OBJECTS:
        image_id = list(images)[fullest]
        raise UserError(
            f"{path}: image id {image_id} has {objects} objects, "
            f"but at most {MOST_OBJECTS} are allowed"
        )
    return AnnotationFile(
        path,
        list(images.values()),
        categories,
        np.array(index, np.int64),
        np.array(category, np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(areas, np.float64),
        np.array(crowd, np.bool_),
        np.array(annotation_id, np.int64),
    )


def _read_lists(path: Path) -> dict[str, list[Any]]:
    """The lists of images, annotations and categories; their entries are not checked yet."""
    content: dict[str, list[Any]] = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(
                f"{path}: is not a COCO annotation file, which is an object with the lists "
                f"images, annotations and categories; {key} is missing"
            )
    if len(content["categories"]) > MOST_CLASSES:
        found = len(content["categories"])
        raise UserError(f"{path}: has {found} categories, but at most {MOST_CLASSES} are allowed")
    return content


def _folder_of(entries: list[Any], folders: Sequence[Path]) -> Path:
    """The first folder that contains the file of the first entry, or else the first folder."""
    first = entries[0].get("file_name") if entries and isinstance(entries[0], dict) else None
    if isinstance(first, str):
        for folder in folders:
            relative = PurePosixPath(first)
            if relative.name in list_folder(folder / relative.parent):
                return folder
    return folders[0]


def _each(
    entries: list[Any], path: Path, what: str, findings: Findings, read: Callable[[Any], None]
) -> None:
    """Reads every entry, and reports an invalid one with its id, or else its number from 1."""
    for place, entry in enumerate(entries, start=1):
        try:
            read(entry)
        except ValueError as problem:
            own = entry.get("id") if isinstance(entry, dict) else None
            which = f"id {own}" if type(own) is int and abs(own) < 2**63 else f"number {place}"
            findings.broken(f"broken {what}", f"{path}: {what} {which}: {problem}")


def _category_reader(categories: dict[str, int]) -> Callable[[Any], None]:
    ids: set[int] = set()

    def read(entry: Any) -> None:
        category_id, category = required(entry, "id", "name")
        category_id, category = as_whole("id", category_id, 0), as_name("name", category)
        if category_id in ids:
            raise ValueError("another category has this id")
        if category in categories:
            raise ValueError(f"category id {categories[category]} has the name {category!r} too")
        ids.add(category_id)
        categories[category] = category_id

    return read


def _image_reader(
    images: dict[int, Image], named: set[int], folder: Path, root: Path
) -> Callable[[Any], None]:
    """Returns a reader that fills `images`; `named` also gets the ids of broken images."""
    homes = real_folders(folder, root)

    @cache
    def files_of(subfolder: Path) -> Mapping[str, bool]:
        if names := list_folder(subfolder):
            refuse_to_leave(subfolder, homes)
        return names

    def read(entry: Any) -> None:
        image_id, file_name, width, height = required(entry, "id", "file_name", "width", "height")
        image_id = as_whole("id", image_id, 0)
        if image_id in named:
            raise ValueError("another image has this id")
        named.add(image_id)
        if not isinstance(file_name, str):
            raise ValueError(f"file_name is {short(file_name)}, but has to be a string")
        relative = PurePosixPath(file_name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"file_name {short(file_name)} leaves the folder {folder}")
        is_link = files_of(folder / relative.parent).get(relative.name)
        if is_link is None:
            raise ValueError(f"file_name {short(file_name)} is not a file in {folder}")
        if is_link:
            refuse_to_leave(folder / relative, homes)
        sides = as_whole("width", width, 1), as_whole("height", height, 1)
        check_pixels(*sides)
        images[image_id] = Image(image_id, folder / relative, *sides)

    return read


def _annotation_reader(
    rows: list[tuple[Any, ...]], image_ids: list[int], named: set[int], category_ids: set[int]
) -> Callable[[Any], None]:
    """Returns a reader that fills `rows`, but skips broken images, which are already reported."""
    index_of = {image_id: index for index, image_id in enumerate(image_ids)}
    seen: set[int] = set()

    def read(entry: Any) -> None:
        fields = required(entry, "id", "image_id", "category_id", "bbox")
        annotation_id, image_id, category_id = (
            as_whole(field, value, 0)
            for field, value in zip(("id", "image_id", "category_id"), fields, strict=False)
        )
        if annotation_id in seen:
            raise ValueError("another annotation has this id")
        if image_id not in named:
            raise ValueError(f"image_id {image_id} is none of the {len(named)} images")
        if category_id not in category_ids:
            raise ValueError(f"category_id {category_id} is none of {len(category_ids)} categories")
        sides = as_box(fields[3])
        crowd = entry.get("iscrowd", 0)
        if type(crowd) not in (int, bool) or crowd not in (0, 1):
            raise ValueError(f"iscrowd is {short(crowd)}, but has to be 0 or 1")
        area = as_number("area", entry.get("area", sides[2] * sides[3]))
        seen.add(annotation_id)
        if (index := index_of.get(image_id)) is not None:
            rows.append((index, category_id, sides, area, bool(crowd), annotation_id))

    return read
