"""YOLO folders → Annotations.

    ROOT/data.yaml                    classes and splits; or obj.data, or a list of class names
    ROOT/images/train/STEM.jpg        or any other folder
    ROOT/labels/train/STEM.txt        the last `images` of the image's path as `labels`; or beside

An image without a label file is background, as YOLO takes it. Corners are relative to the image.
A box is degenerate if its width or height is not above 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import shown
from ssd.common.words import counted
from ssd.data.annotations import Annotations, Listed
from ssd.data.findings import Findings
from ssd.data.names import IMAGE_SUFFIXES, FileIndex, image_ids
from ssd.data.survey import DESCRIPTIONS
from ssd.data.yolo_file import Description, Labels, read_labels
from ssd.data.yolo_labels import label_finder, label_names, labels_without_image
from ssd.data.yolo_splits import describe, images_of

OTHER_COUNT = "nc is not the number of names, which win"
LISTED_TWICE = "listed twice in one list"
TEXTS = {".txt", *DESCRIPTIONS}


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
