"""The layouts of YOLO, by the files that lie below a root."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ssd.common.untrusted import short
from ssd.config import DataConfig
from ssd.data.layouts import FEW, Layout, ends_of, is_in, tops
from ssd.data.survey import DESCRIPTIONS, WORDS, Survey, given_folder, key
from ssd.data.yolo_labels import label_names
from ssd.data.yolo_splits import NAME_FILES, describe, split_path


def find_yolo(root: Path, found: Survey, config: DataConfig) -> Layout | None:
    """YOLO's labels, with or without a description."""
    home = None
    if config.annotations is not None:
        labels = given_folder(root, config.annotations).relative_to(root)
        home = key(labels.as_posix()) + "/"
    texts = {
        key((folder / posixpath.splitext(name)[0]).as_posix()): folder / name
        for folder, files in found.items()
        for name in files.names
        if name.lower().endswith(".txt")
    }
    labels_in: dict[PurePosixPath, list[PurePosixPath]] = {}
    for folder, files in found.items():
        images = (key((folder / stem).as_posix()) for stem in sorted(files.images))
        names = [name for image in images for name in label_names(image, home) if name in texts]
        if names and is_in(root, folder, config.images):
            labels_in[folder] = [texts[name] for name in names]
    if not any(_has_rows(root / label) for own in labels_in.values() for label in own[:FEW]):
        return None
    described = describe(root, [root / folder / name for folder, name in _descriptions(found)])
    there = {
        split: WORDS[split]
        for split, texts_of in described.splits.items()
        if any(split_path(root, described, text) for text in texts_of)
    }
    gone = {
        WORDS[split]: f"{split} of {described.path}, {short(texts_of[0])}, is not there"
        for split, texts_of in described.splits.items()
        if split not in there
    }
    if there:
        assert described.path is not None
        what = f"YOLO ({described.path.relative_to(root)})"
        return Layout("yolo", what, there, gone=gone)
    beside = any(label.parent == folder for folder, own in labels_in.items() for label in own)
    where = "beside the images" if beside else "in folders of their own"
    without = "usable splits in data.yaml" if gone else "data.yaml"
    what = f"YOLO without {without}, labels {where}"
    return Layout("yolo", what, tops(labels_in), gone=gone)


def _descriptions(found: Survey) -> Iterator[tuple[PurePosixPath, str]]:
    for folder, files in found.items():
        for name in files.names:
            if name in NAME_FILES or posixpath.splitext(name)[1].lower() in DESCRIPTIONS:
                yield folder, name


def _has_rows(path: Path) -> bool:
    """Returns whether a text file starts with a row of labels."""
    words = ends_of(path).decode("utf-8-sig", "replace").split("\n")[0].split()
    try:
        return len([float(word) for word in words]) >= 5
    except ValueError:
        return False
