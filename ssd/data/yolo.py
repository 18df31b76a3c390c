"""YOLO folders → Annotations.

    ROOT/data.yaml                    classes and splits; or obj.data, or a list of class names
    ROOT/images/train/STEM.jpg        or any other folder
    ROOT/labels/train/STEM.txt        the last `images` of the image's path as `labels`; or beside

An image without a label file is background, as YOLO takes it. Corners are relative to the image.
A box is degenerate if its width or height is not above 0.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import short, shown
from ssd.common.words import counted
from ssd.data.annotations import Annotations, Listed
from ssd.data.findings import Findings
from ssd.data.name_repairs import moved
from ssd.data.names import IMAGE_SUFFIXES, FileIndex, image_ids
from ssd.data.survey import DESCRIPTIONS
from ssd.data.yolo_file import (
    Description,
    Labels,
    read_darknet,
    read_labels,
    read_names,
    read_text,
    read_yaml_description,
)
from ssd.data.yolo_labels import label_finder, label_names, labels_without_image

OTHER_COUNT = "nc is not the number of names, which win"
LISTED_TWICE = "listed twice in one list"
NAME_FILES = {"classes.txt", "obj.names", "predefined_classes.txt", "_darknet.labels"}
TEXTS = {".txt", *DESCRIPTIONS}
LARGEST_LIST = 1 << 28  # bytes


def annotate_yolo(
    root: Path, splits: Sequence[str], findings: Findings, labels: Path | None = None
) -> Annotations:
    """All images of `splits`, one split after another.

    Args:
        root: the folder of the data.
        splits: `train`, `val` or `test` of the description, or the path of a folder of images or
            of a list file below `root`.
        findings: receives the problems.
        labels: the folder below `root` that holds the label files; by default, see above.

    Raises:
        UserError: a split is missing or has no image, or the description makes no sense.
    """
    if not root.is_dir():
        raise UserError(f"data.root {root} is not a folder: set it to the folder of the data")
    images, texts = FileIndex(root, IMAGE_SUFFIXES), FileIndex(root, TEXTS)
    described = describe(root, texts.below(root))
    label_of = label_finder(texts, labels)
    repairs: Counter[str] = Counter()
    if described.other_count:
        repairs[OTHER_COUNT] += 1
        told = f"{described.path}: {OTHER_COUNT}: nc is {described.other_count}, but there are "
        findings.repaired(OTHER_COUNT, told + counted(len(described.names or []), "name"))
    paths: dict[Path, str] = {}
    for split in splits:
        _list_once(
            paths,
            images_of(root, split, described, images, findings, repairs),
            split,
            findings,
            repairs,
        )
    labels_of: list[Labels] = []
    kept: list[tuple[Path, Path]] = []
    for path in paths:
        try:
            source = label_of(path)
            labels_of.append(
                read_labels(source, described, findings, repairs) if source else Labels()
            )
            kept.append((path, source or path))
        except (ValueError, UserError) as error:
            findings.unusable("broken annotation", str(error))
    if len(kept) == len(paths) and all(path == source for path, source in kept):
        raise UserError(_no_labels(root, splits, [path for path, _ in kept], labels))
    used = [source for _, source in kept if source.suffix.lower() == ".txt"]
    for text in labels_without_image(images, texts, label_of, used):
        alone = f"{text}: there is no image of this name: rename the image or the label file"
        findings.unusable("missing image", alone)
    ids = image_ids(root, [path for path, _ in kept])
    listed = [
        Listed(own, path, 0, 0, source) for own, (path, source) in zip(ids, kept, strict=True)
    ]
    return _to_columns(listed, labels_of, described, repairs)


def _list_once(
    paths: dict[Path, str],
    more: Iterable[Path],
    split: str,
    findings: Findings,
    repairs: Counter[str],
) -> None:
    """Adds the images of a split to `paths`, which has the split of each, and tells repetitions."""
    for path in more:
        if paths.get(path) == split:
            repairs[LISTED_TWICE] += 1
            findings.repaired(LISTED_TWICE, f"{path}: {split} has it twice")
        elif path in paths:
            both = f"in {paths[path]} and in {split}"
            twice = f"{path} is listed twice, {both}: use every image only once"
            findings.broken("listed twice", twice)
        paths[path] = split


def _no_labels(
    root: Path, splits: Sequence[str], images: Sequence[Path], labels: Path | None
) -> str:
    """Tells where the label file of the first image was looked for."""
    name = images[0].relative_to(root).with_suffix("").as_posix()
    home = None if labels is None else f"{labels.relative_to(root).as_posix()}/"
    places = [f"{place}.txt" for place in label_names(name, home)]
    none = f"none of {counted(len(images), 'image')} has a label file"
    where = f"that of {images[0]} was looked for at {shown(places)}"
    remedy = "put the label files there, or set --data.annotations to their folder"
    return f"{root}, {', '.join(splits)}: {none}; {where}: {remedy}"


def _to_columns(
    images: list[Listed],
    labels_of_images: Sequence[Labels],
    described: Description,
    repairs: Counter[str],
) -> Annotations:
    rows = [row for own in labels_of_images for row in own.rows]
    category = np.array([row.category for row in rows], np.int64)
    corners = np.array([row.corners for row in rows], np.float64).reshape(-1, 4)
    names = described.names or [str(number) for number in range(category.max(initial=-1) + 1)]

    def called(row: int) -> str:
        shown_corners = ", ".join(f"{value:g}" for value in rows[row].corners)
        return f"line {rows[row].line} ({names[rows[row].category]!r}): corners ({shown_corners})"

    return Annotations(
        images=images,
        names=names,
        image_index=np.repeat(np.arange(len(images)), [len(own.rows) for own in labels_of_images]),
        category=category,
        corners=corners,
        sound=np.asarray((corners[:, 2:] > corners[:, :2]).all(1)),
        difficult=np.zeros(len(rows), np.bool_),
        crowd=np.zeros(len(rows), np.bool_),
        called=called,
        relative=True,
        repairs=repairs,
        broken={at: own.broken for at, own in enumerate(labels_of_images) if own.broken},
    )


def describe(root: Path, texts: Sequence[Path]) -> Description:
    """The description among the files `texts` below `root`; an empty one if there is none.

    Raises:
        UserError: there are several that differ, or it makes no sense.
    """
    nearest = sorted(texts, key=lambda path: (len(path.parts), path))
    yamls = [path for path in nearest if path.suffix.lower() in {".yaml", ".yml"}]
    found = [one for path in yamls[:100] if (one := read_yaml_description(path))]
    if found:
        only = _only(root, found)
        _refuse_others(root, only, found[1:])
        return only
    names = [path for path in nearest if path.name in NAME_FILES or path.suffix == ".names"]
    described = [Description(path, read_names(path)) for path in names[:100]]
    for path in (path for path in nearest if path.suffix == ".data"):
        splits, named = read_darknet(path)
        own = [each for each in described if named and each.path and each.path.name in named]
        return Description(path, _only(root, own or described).names, splits)
    return _only(root, described) if described else Description()


def _only(root: Path, found: list[Description]) -> Description:
    for other in found[1:]:
        if (other.names, other.splits) != (found[0].names, found[0].splits):
            both = f"{found[0].path} and {other.path}"
            raise UserError(
                f"{root}: {both} describe the data differently: keep one of them, or set data.root "
                "to the folder of one of the data sets"
            )
    return found[0] if found else Description()


def _refuse_others(root: Path, described: Description, others: Sequence[Description]) -> None:
    """Raises a UserError if an equal description means other files: that of a second export."""
    first, here = _places(root, described), described.path
    for other in others:
        second, there = _places(root, other), other.path
        if here and there and second - first:
            raise UserError(
                f"{root}: {here} and {there} each describe a data set: give --data.root "
                f"{here.parent} or --data.root {there.parent}, or put one description of both in "
                "their place"
            )


def _places(root: Path, described: Description) -> set[Path]:
    texts = [text for own in described.splits.values() for text in own]
    return {place[0] for text in texts if (place := split_path(root, described, text))}


def split_path(root: Path, described: Description, text: str) -> tuple[Path, bool] | None:
    """The folder or list file below `root` that a description names, and whether it took a repair.

    A path that does not exist, such as one of another machine, is taken for the one that its
    longest end names below the folder of the description, or below the root.
    """
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
    home = described.path.parent if described.path else root
    for base in (home / described.home, home, root):
        path = Path(posixpath.normpath((base / text.replace("\\", "/")).as_posix()))
        if path.is_relative_to(root) and path.exists():
            return path, False
    for start in range(len(parts)):
        for base in (home, root):
            path = base.joinpath(*parts[start:])
            if ".." not in parts[start:] and path.exists():
                return path, True
    return None


def images_of(
    root: Path,
    split: str,
    described: Description,
    images: FileIndex,
    findings: Findings,
    repairs: Counter[str],
) -> Iterator[Path]:
    """The images of a split, in the order of its lists, or sorted by name.

    Args:
        root: the folder of the data.
        split: as `annotate_yolo` takes it.
        described: by `describe`.
        images: the image files below `root`.
        findings: receives the images that are listed and not there.
        repairs: receives the number of mended paths, by kind.

    Raises:
        UserError: the split is missing or has no image.
    """
    found, lost = 0, list[str]()
    for text in described.splits.get(split, [split]):
        path = _place_of(root, split, text, described, findings, repairs)
        folders = [] if path.is_dir() else [path.parent]
        for line in _lines(path) if folders else _names_in(images, path):
            try:
                image = images.find(line, folders)
                if image is None:
                    raise ValueError(f"{short(line)} is no image in {root}")
            except ValueError as error:
                lost.append(f"{path}: {error}")
                findings.unusable("missing image", lost[-1])
                continue
            if image.repair:
                repairs[image.repair] += 1
                findings.repaired(image.repair, f"{path}: {short(line)} is {image.path}")
            found += 1
            yield image.path
    if not found and lost:
        some = f"{counted(len(lost), 'image')}; the first: {lost[0]}"
        remedy = "put them there, correct the list, or set data.train_split and data.eval_split"
        raise UserError(f"{root}, {split}: no image that it lists is there ({some}): {remedy}")
    if not found:
        raise UserError(f"{root}, {split}: has no image: set data.train_split and data.eval_split")


def _lines(path: Path) -> Iterator[str]:
    return filter(None, map(str.strip, read_text(path, LARGEST_LIST).splitlines()))


def _names_in(index: FileIndex, folder: Path) -> Iterator[str]:
    return (path.relative_to(index.root).as_posix() for path in index.below(folder))


def _place_of(
    root: Path,
    split: str,
    text: str,
    described: Description,
    findings: Findings,
    repairs: Counter[str],
) -> Path:
    """The folder or list file of a split."""
    place = split_path(root, described, text)
    if place is None:
        names = shown(list(described.splits)) or "no splits"
        where = f"{described.path} has {names}" if described.path else "no file names splits"
        raise UserError(
            f"{root}, {split}: there is no folder or list {short(text)} below it; {where}: set "
            "data.train_split and data.eval_split to folders of images or to list files"
        )
    path, is_mended = place
    if is_mended:
        repairs[moved(text)] += 1
        told = f"{described.path}: {split} is {short(text)}, taken for {path}"
        findings.repaired(moved(text), told)
    return path
