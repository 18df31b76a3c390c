"""COCO annotation files → Records.

    ROOT/annotations/instances_NAME.json   or ROOT/annotations/NAME.json
    ROOT/images/NAME/FILE_NAME             or ROOT/NAME/FILE_NAME, or ROOT/images/FILE_NAME

A split that ends in `.json` is the path of such a file below ROOT, with its images beside it.
Images without annotations are kept. A missing or invalid file is reported as a user error, with
the annotation's id. A box is degenerate if its width or height is not above 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import shown
from ssd.data.annotations import Annotations, Listed
from ssd.data.class_names import meant
from ssd.data.coco_columns import called
from ssd.data.coco_entries import Key
from ssd.data.coco_file import AnnotationFile, Image, read_annotation_file
from ssd.data.findings import Findings, Refuse
from ssd.data.left_out import without_broken
from ssd.data.names import IMAGE_SUFFIXES, FileIndex, image_ids
from ssd.data.settle import settle
from ssd.structures import DataSet, IntArray


def read_coco(
    root: Path,
    splits: Sequence[str],
    classes: Sequence[str] | None,
    findings: Findings | None = None,
) -> DataSet:
    """All images of `splits`, one split after another.

    Args:
        root: the folder that holds annotations and images.
        splits: `NAME`, or the path of an annotation file below `root`.
        classes: the classes in order; if None, the categories of the files, ordered by id.
        findings: receives the problems; if None, the first broken entry or unusable image is an
            error.

    Raises:
        UserError: a file is missing or invalid, or an image is listed twice.
    """
    refuse = Refuse()
    told = findings or refuse
    found = without_broken(annotate_coco(root, splits, classes, told), told)
    if refuse.left_out:
        raise UserError(refuse.left_out[0].message)
    return settle(found, tuple(classes or found.names), told)


def annotate_coco(
    root: Path,
    splits: Sequence[str],
    classes: Sequence[str] | None,
    findings: Findings,
    images: Path | None = None,
    annotations: Path | None = None,
) -> Annotations:
    """The images of `splits` and their objects, one split after another.

    Args:
        root: the folder that holds annotations and images.
        splits: `NAME`, or the path of an annotation file below `root`.
        classes: those that are wanted; None for all.
        findings: receives the problems.
        images: the folder of the images, if it is given.
        annotations: the folder of the annotation files, if it is given.

    Raises:
        UserError: a file is missing or invalid, or an image is listed twice.
    """
    if not root.is_dir():
        raise UserError(f"data.root {root} is not a folder: set it to the folder of the data")
    index = FileIndex(root, IMAGE_SUFFIXES)
    places = [places_of(root, split, annotations or root / "annotations") for split in splits]
    files = [
        read_annotation_file(path, [images] if images else folders, index, classes, findings)
        for path, folders in places
    ]
    ids = _category_ids(files)
    names = sorted(ids, key=lambda name: (isinstance(ids[name], str), ids[name]))
    if classes and not any(name in ids for name in classes):
        has = f"it has {shown(names)}{meant(classes, names)}"
        raise UserError(
            f"{files[0].path} has no category {shown(classes)}; {has}: set data.classes"
        )
    return _to_columns(files, root, names, ids)


def places_of(root: Path, split: str, folder: Path) -> tuple[Path, list[Path]]:
    """The annotation file of a split, and the folders in which to look for its images first.

    Args:
        root: the folder that holds annotations and images.
        split: `NAME`, or the path of an annotation file below `root`.
        folder: the folder of the annotation files of a `NAME`.

    Raises:
        UserError: there is no such file.
    """
    if split.endswith(".json"):
        path, beside = root / split, [(root / split).parent]
        split = path.stem.removeprefix("instances_")
    else:
        beside = []
        files = [folder / f"instances_{split}.json", folder / f"{split}.json"]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            have = ", ".join(sorted(file.name for file in folder.glob("*.json"))) or "no such file"
            raise UserError(f"{files[0]}: there is no such annotation file; {folder} has {have}")
        path = found
    folders = [root / "images" / split, root / split, root / "images", *beside]
    return path, [one for one in folders if one.is_dir() and one.is_relative_to(root)]


def _category_ids(files: Sequence[AnnotationFile]) -> dict[str, Key]:
    """The id of every category by name; all files have to agree on both."""
    ids: dict[str, Key] = {}
    names: dict[Key, str] = {}
    for file in files:
        own: dict[str, Key] = {}
        for category in filter(None, file.categories):
            own.setdefault(category.name, category.id)
        for name, category_id in own.items():
            same = ids.setdefault(name, category_id) == category_id
            if not same or names.setdefault(category_id, name) != name:
                where = f"{files[0].path} and {file.path}"
                raise UserError(
                    f"{where}: category {name!r} (id {category_id}) has another id or name in "
                    "one of them: files used together must use the same category ids"
                )
    if not ids:
        raise UserError(f"{files[0].path}: has no category")
    return ids


def _to_columns(
    files: Sequence[AnnotationFile], root: Path, names: list[str], ids: dict[str, Key]
) -> Annotations:
    """The annotation files as one set of columns."""
    firsts = np.cumsum([0, *(len(file.images) for file in files)])
    sides = np.concatenate([file.boxes for file in files])
    numbers = np.concatenate([file.number for file in files])
    position = {name: category for category, name in enumerate(names)}

    def row_called(row: int) -> str:
        bbox = ", ".join(f"{side:g}" for side in sides[row].tolist())
        return f"{called(numbers[row])}: bbox [{bbox}]"

    listed = [(image, file.path) for file in files for image in file.images]
    return Annotations(
        images=[
            Listed(image_id, image.path, image.width, image.height, path)
            for image_id, (image, path) in zip(_image_ids(listed, root), listed, strict=True)
        ],
        names=names,
        image_index=np.concatenate(
            [file.image_index + first for file, first in zip(files, firsts, strict=False)]
        ),
        category=np.concatenate([_renumbered(file, position) for file in files]),
        corners=np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], 1),
        sound=np.asarray((sides[:, 2:] > 0).all(1)),
        difficult=np.zeros(len(sides), np.bool_),
        crowd=np.concatenate([file.crowd for file in files]),
        called=row_called,
        category_ids=ids,
        sides=sides,
        areas=np.concatenate([file.areas for file in files]),
        repairs=sum((file.repairs for file in files), Counter()),
        broken={
            int(first) + place: problems
            for file, first in zip(files, firsts, strict=False)
            for place, problems in file.broken.items()
        },
    )


def _renumbered(file: AnnotationFile, position: dict[str, int]) -> IntArray:
    """The file's column `category` with each name's `position`."""
    new = [position[each.name] if each else -1 for each in file.categories]
    return np.array(new, np.int64)[file.category]


def _image_ids(listed: Sequence[tuple[Image, Path]], root: Path) -> list[str]:
    """The name of every image: its id, or its path below `root` if several files use that id.

    Raises:
        UserError: one image is listed under one id in two files.
    """
    ids = [str(image.key) for image, _ in listed]
    seen: dict[tuple[str, Path], Path] = {}
    for image_id, (image, file) in zip(ids, listed, strict=True):
        first = seen.setdefault((image_id, image.path), file)
        if first is not file:
            raise UserError(
                f"{first} and {file}: both have the image {image.path} with the id {image_id}: "
                "give every split only once, and take each image into one file only"
            )
    return image_ids(root, [image.path for image, _ in listed], ids)
