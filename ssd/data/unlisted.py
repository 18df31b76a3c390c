"""The image files of a COCO or YOLO data set that no split names: forgotten, or left over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.coco import places_of
from ssd.data.coco_file import listed_images
from ssd.data.findings import Collect
from ssd.data.layout import recognise
from ssd.data.names import IMAGE_SUFFIXES, FileIndex
from ssd.data.survey import given_folder
from ssd.data.yolo import TEXTS
from ssd.data.yolo_labels import label_finder
from ssd.data.yolo_splits import describe, images_of

Files = dict[Path, list[str]]  # the names of files, by their folder


def unlisted_images(config: DataConfig, splits: Sequence[str]) -> Files:
    """The images that neither `splits` nor any other split of the data names, by folder.

    Only folders of the data's own images count, which hold one that a split names. In YOLO's
    format an image with a label file counts too, and so does that file.

    Args:
        config: the location and the format of the data, `coco` or `yolo`, as `locate` returns it.
        splits: those that are used.

    Raises:
        UserError: a split cannot be read, so that nobody knows what it names.
    """
    root = Path(config.root)
    others: Iterable[str] = ()
    with suppress(UserError):  # such as a layout that only the settings describe
        others = recognise(root, config).splits
    every = list(dict.fromkeys([*splits, *others]))
    index = FileIndex(root, IMAGE_SUFFIXES)
    return (_of_coco if config.format == "coco" else _of_yolo)(root, config, every, index)


def _of_coco(root: Path, config: DataConfig, splits: Sequence[str], index: FileIndex) -> Files:
    images, annotations = (
        None if name is None else given_folder(root, name)
        for name in (config.images, config.annotations)
    )
    named: set[Path] = set()
    for split in splits:
        path, folders = places_of(root, split, annotations or root / "annotations")
        named |= listed_images(path, [images] if images else folders, index)
    homes = {path.parent for path in named}
    return _by_folder(
        path for path in index.below(root) if path.parent in homes and path not in named
    )


def _of_yolo(root: Path, config: DataConfig, splits: Sequence[str], index: FileIndex) -> Files:
    texts = FileIndex(root, TEXTS)
    described = describe(root, texts.below(root))
    labels = None if config.annotations is None else given_folder(root, config.annotations)
    label_of = label_finder(texts, labels)
    named: set[Path] = set()
    for split in dict.fromkeys([*splits, *described.splits]):
        named |= set(images_of(root, split, described, index, Collect(), Counter()))
    homes = {path.parent for path in named}
    unlisted: list[Path] = []
    for path in index.below(root):
        if path in named:
            continue
        label = None
        with suppress(ValueError):  # a link out of the data
            label = label_of(path)
        if label or path.parent in homes:
            unlisted += [path, label] if label else [path]
    return _by_folder(unlisted)


def _by_folder(paths: Iterable[Path]) -> Files:
    by_folder: Files = {}
    for path in sorted(set(paths)):
        by_folder.setdefault(path.parent, []).append(path.name)
    return by_folder
