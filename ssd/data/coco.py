"""COCO annotation files → Records.

    ROOT/annotations/instances_NAME.json   or ROOT/annotations/NAME.json
    ROOT/images/NAME/FILE_NAME             or ROOT/NAME/FILE_NAME, or ROOT/images/FILE_NAME

A split that ends in `.json` is the path of such a file below ROOT, with its images beside it.
Images without annotations are kept. A missing or invalid file is reported as a user error, with
the annotation's id. A box is degenerate if its width or height is not above 0.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import shown
from ssd.data.annotations import Annotations, Listed
from ssd.data.coco_file import AnnotationFile, read_annotation_file
from ssd.data.findings import Findings, Refuse
from ssd.data.settle import settle
from ssd.structures import DataSet


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
        findings: receives the problems; if None, the first broken entry is an error.

    Raises:
        UserError: a file is missing or invalid, or an image is listed twice.
    """
    findings = findings or Refuse()
    if not root.is_dir():
        raise UserError(f"data.root {root} is not a folder: set it to the folder of the data")
    with _without_collector():
        files = [read_annotation_file(*_locate(root, split), root, findings) for split in splits]
    ids = _category_ids(files)
    names = sorted(ids, key=ids.__getitem__)
    wanted = tuple(classes or names)
    if not any(name in ids for name in wanted):
        raise UserError(f"{files[0].path} has no category {shown(wanted)}; it has {shown(names)}")
    seen: dict[int, Path] = {}
    for file in files:
        for image in file.images:
            if image.image_id in seen:
                both = f"{seen[image.image_id]} and {file.path}"
                raise UserError(
                    f"{both}: both have an image with the id {image.image_id}: give every split "
                    "only once; if the images differ, renumber those of one file"
                )
            seen[image.image_id] = file.path
    return settle(_to_columns(files, names, ids), wanted, findings)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Pauses Python's garbage collector, which would scan millions of new objects repeatedly.

    This reads COCO's train2017 in two thirds of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _locate(root: Path, split: str) -> tuple[Path, list[Path]]:
    """The annotation file of a split, and the folders that may hold its images."""
    if split.endswith(".json"):
        return root / split, [(root / split).parent]
    folder = root / "annotations"
    files = [folder / f"instances_{split}.json", folder / f"{split}.json"]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        have = ", ".join(sorted(file.name for file in folder.glob("*.json"))) or "no such file"
        raise UserError(f"{files[0]}: there is no such annotation file; {folder} has {have}")
    folders = [root / "images" / split, root / split, root / "images"]
    images = [one for one in folders if one.is_dir()]
    if not images:
        raise UserError(f"{folders[0]} is not a folder: put the images of {path} there")
    return path, images


def _category_ids(files: Sequence[AnnotationFile]) -> dict[str, int]:
    """The id of every category by name; all files have to agree on both."""
    ids: dict[str, int] = {}
    names: dict[int, str] = {}
    for file in files:
        for category, category_id in file.categories.items():
            same = ids.setdefault(category, category_id) == category_id
            if not same or names.setdefault(category_id, category) != category:
                where = f"{files[0].path} and {file.path}"
                raise UserError(
                    f"{where}: category {category!r} (id {category_id}) has another id or name in "
                    "one of them: files used together must use the same category ids"
                )
    if not ids:
        raise UserError(f"{files[0].path}: has no category")
    return ids


def _to_columns(
    files: Sequence[AnnotationFile], names: list[str], ids: dict[str, int]
) -> Annotations:
    """The annotation files as one set of columns."""
    firsts = np.cumsum([0, *(len(file.images) for file in files)])
    sides = np.concatenate([file.boxes for file in files])
    category_of = {ids[name]: category for category, name in enumerate(names)}
    numbers = np.concatenate([file.annotation_id for file in files])
    categories = np.concatenate([file.category for file in files]).tolist()

    def called(row: int) -> str:
        bbox = ", ".join(f"{side:g}" for side in sides[row].tolist())
        return f"annotation id {numbers[row]}: bbox [{bbox}]"

    return Annotations(
        images=[
            Listed(str(image.image_id), image.path, image.width, image.height, file.path)
            for file in files
            for image in file.images
        ],
        names=names,
        image_index=np.concatenate(
            [file.image_index + first for file, first in zip(files, firsts, strict=False)]
        ),
        category=np.array([category_of[one] for one in categories], np.int64),
        corners=np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], 1),
        sound=np.asarray((sides[:, 2:] > 0).all(1)),
        difficult=np.zeros(len(sides), np.bool_),
        crowd=np.concatenate([file.crowd for file in files]),
        called=called,
        category_ids=ids,
        sides=sides,
        areas=np.concatenate([file.areas for file in files]),
    )
