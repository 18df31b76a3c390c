"""The description of a YOLO folder, and the images of each split that it names."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.untrusted import short, shown
from ssd.common.words import counted
from ssd.data.findings import Findings
from ssd.data.name_repairs import moved
from ssd.data.names import FileIndex
from ssd.data.yolo_file import (
    Description,
    read_darknet,
    read_names,
    read_text,
    read_yaml_description,
)

NAME_FILES = {"classes.txt", "obj.names", "predefined_classes.txt", "_darknet.labels"}
LARGEST_LIST = 1 << 28  # bytes


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
