"""The label files of a YOLO data set: which belongs to which image."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ssd.data.names import FileIndex
from ssd.data.survey import key
from ssd.data.yolo_file import looks_like_labels


def label_finder(texts: FileIndex, labels: Path | None) -> Callable[[Path], Path | None]:
    """Returns a function from an image to its label file, if it has one.

    It raises a ValueError where that is a link out of the data.
    """
    root = texts.root
    below = (path.relative_to(root).as_posix() for path in texts.below(root))
    by_key = {key(name[:-4]): name for name in below if name.lower().endswith(".txt")}
    home = None if labels is None else key(labels.relative_to(root).as_posix()) + "/"

    def find(image: Path) -> Path | None:
        name = key(posixpath.splitext(image.relative_to(root).as_posix())[0])
        text = next(filter(None, map(by_key.get, label_names(name, home))), None)
        found = None if text is None else texts.find(text)
        return found.path if found else None

    return find


def labels_without_image(
    images: FileIndex,
    texts: FileIndex,
    label_of: Callable[[Path], Path | None],
    used: Sequence[Path],
) -> list[Path]:
    """The label files that belong to no image, in the folders of those that are used."""
    folders, taken = {path.parent for path in used}, set(used)
    for image in images.below(images.root):
        with suppress(ValueError):  # its label file is a link out of the data
            taken |= {label_of(image) or image}
    return [
        path
        for path in texts.below(texts.root)
        if path.parent in folders and path not in taken and looks_like_labels(path)
    ]


def label_names(name: str, labels: str | None = None) -> Iterator[str]:
    """The paths at which the label file of an image may be, without suffix, in this order.

    Args:
        name: the image's path below the root without suffix, as `key` makes it.
        labels: the folder of the labels in the same form, if it is known, with a slash.
    """
    parts = name.split("/")
    if labels is not None:
        yield from (labels.removeprefix("./") + "/".join(parts[at:]) for at in range(len(parts)))
        return
    folders = parts[:-1]
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        yield "/".join([*folders[:last], "labels", *parts[last + 1 :]])
    yield name
    yield "/".join([*folders, "labels", parts[-1]])
