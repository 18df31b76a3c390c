"""Checks a data set, file by file.

A finding is broken if it stops training or makes it learn something wrong, and odd if training
copes with it. Boxes in the findings about images are xyxy in 0-based pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.findings import Collect, Finding
from ssd.data.layout import locate
from ssd.data.num_workers import num_workers
from ssd.data.source import load_data
from ssd.data.voc_images import unlisted_files
from ssd.doctor.image_files import read_image_files
from ssd.geometry.boxes import pairwise_iou
from ssd.structures import DataSet, FloatArray, Record

BROKEN, ODD = True, False
SAME_OBJECT_IOU = 0.95
WHOLE_IMAGE = 0.99
MOST_SQUASHED = 4
FEW_OBJECTS, MANY_OBJECTS = 5, 50
SHOWN_FILES = 5

Files = Mapping[Path, str | UserError]  # the hash of a readable image


@dataclass(frozen=True)
class Checked:
    """The readable part of a data set, and the findings about it, each of them once."""

    train: DataSet
    evaluation: DataSet
    findings: list[Finding]

    @property
    def is_broken(self) -> bool:
        """True if something would hurt training."""
        return any(finding.is_broken for finding in self.findings)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes to learn; the evaluation's own where the training data cannot be read."""
        return self.train.classes or self.evaluation.classes


def check_data(config: DataConfig, input_size: int) -> Checked:
    """Reads all annotations and images of both splits and applies every rule.

    Raises:
        UserError: `data.root` is not a folder.
    """
    config, _ = locate(config)
    told = Collect()
    train = _read(config, config.train_split, config.classes, told)
    evaluation = _read(config, config.eval_split, train.classes or None, told)
    records = [*train.records, *evaluation.records]
    files = read_image_files(records, max(1, num_workers(config.workers, beside=None)))
    found = [
        *told.findings,
        *nothing_to_train_on(train, config),
        *rare_classes(train),
        *alike_classes([train, evaluation]),
        *left_out_classes(train, "training"),
        *left_out_classes(evaluation, "evaluation"),
        *images_without_objects(train, "train"),
        *images_without_objects(evaluation, "eval"),
        *in_both_splits(train.records, evaluation.records),
        *identical_files(train.records, evaluation.records, files),
    ]
    for data in (train, evaluation):
        for record in data.records:
            found += image_findings(record, files[record.path])
            found += box_findings(record, data.classes, input_size)
            found += repeated_boxes(record, data.classes)
    if config.format in ("voc", "shapes"):
        found += unlisted(config)
    return Checked(train, evaluation, list(dict.fromkeys(found)))


def _read(
    config: DataConfig,
    splits: str | list[str] | None,
    classes: Sequence[str] | None,
    told: Collect,
) -> DataSet:
    """The data set, empty if it cannot be read at all."""
    if splits is None:
        return DataSet([], tuple(classes or ()), {})
    try:
        return load_data(config, splits, classes, told)
    except UserError as error:
        if not Path(config.root).is_dir():
            raise
        told.broken("unreadable split", str(error))
        return DataSet([], tuple(classes or ()), {})


def nothing_to_train_on(train: DataSet, config: DataConfig) -> Iterator[Finding]:
    """No training object at all, or none of a class; the latter is broken if classes are given."""
    labels = [r.labels[r.trained_on(config.train_difficult)] for r in train.records]
    counts = np.bincount(np.concatenate([[0], *labels]), minlength=len(train.classes) + 1)[1:]
    where = f"{config.root}, {config.train_split}"
    if train.records and not counts.any():
        yield Finding("nothing to train on", BROKEN, f"{where}: no image has an object")
        return
    for name, count in zip(train.classes, counts.tolist(), strict=True):
        if train.records and count == 0:
            message = f"{where}: no training image has an object of class {name!r}"
            yield Finding("class without objects", config.classes is not None, message)


def rare_classes(train: DataSet) -> Iterator[Finding]:
    """Classes with very few objects where the median class has many."""
    files = _files_by_class(train)
    median = np.median([len(paths) for paths in files.values()] or [0])
    for name, paths in files.items():
        if 0 < len(paths) < FEW_OBJECTS and median >= MANY_OBJECTS:
            few = f"class {_counted(name, paths)} is rare: the median class has {median:g}"
            yield Finding("rare class", ODD, few)


def alike_classes(data_sets: Sequence[DataSet]) -> Iterator[Finding]:
    """Class names that differ only in case, spaces or punctuation, left-out classes included."""
    files: dict[str, list[Path]] = {}
    for data in data_sets:
        for name, paths in [*_files_by_class(data).items(), *data.left_out.items()]:
            files.setdefault(name, []).extend(paths)
    alike: dict[str, list[str]] = {}
    for name in sorted(files, key=lambda name: -len(files[name])):
        alike.setdefault(re.sub(r"[\W_]", "", name.casefold()) or name, []).append(name)
    for common, *others in alike.values():
        for other in others:
            pair = f"{_counted(other, files[other])} and {_counted(common, files[common])}"
            message = f"classes {pair} are spelled alike: use one name for each class"
            yield Finding("class names alike", ODD, message)


def left_out_classes(data: DataSet, use: str) -> Iterator[Finding]:
    """Classes of the annotations that are not among those to learn."""
    for name, paths in data.left_out.items():
        why = "it is not among the classes to detect"
        message = f"class {_counted(name, paths)} is left out of {use}: {why}"
        yield Finding("class left out", ODD, message)


def _files_by_class(data: DataSet) -> dict[str, list[Path]]:
    """The image of every object that is not a crowd, by class."""
    files: dict[str, list[Path]] = {name: [] for name in data.classes}
    for record in data.records:
        for label in record.labels[~record.crowd].tolist():
            files[data.classes[label - 1]].append(record.path)
    return files


def _counted(name: str, paths: Sequence[Path]) -> str:
    first = f", the first in {paths[0]}" if paths else ""
    return f"{name!r} ({len(paths)} objects{first})"


def images_without_objects(data: DataSet, split: str) -> Iterator[Finding]:
    """One finding for all images that have no object."""
    empty = [str(record.path) for record in data.records if not len(record.labels)]
    if empty:
        some = f"{split}: {len(empty)} of {len(data.records)} images have no object"
        yield Finding("images without objects", ODD, f"{some}: {_first(empty)}")


def in_both_splits(train: Sequence[Record], evaluation: Sequence[Record]) -> Iterator[Finding]:
    """Images that the detector is both trained and evaluated on."""
    trained_on = {record.path for record in train}
    for record in evaluation:
        if record.path in trained_on:
            message = f"{record.path}: is in both the training and the evaluation data"
            yield Finding("image in train and eval", ODD, message)


def identical_files(
    train: Sequence[Record], evaluation: Sequence[Record], files: Files
) -> Iterator[Finding]:
    """Files with the same bytes as an earlier one; training files come before the others."""
    first: dict[str, Path] = {}
    trained_on = {record.path for record in train}
    for path in dict.fromkeys(record.path for record in [*train, *evaluation]):
        file = files[path]
        if isinstance(file, str) and (other := first.setdefault(file, path)) != path:
            leak = path not in trained_on and other in trained_on
            kind = "identical images in train and eval" if leak else "identical images"
            yield Finding(kind, ODD, f"{path}: is the same file as {other}, byte for byte")


def image_findings(record: Record, file: str | UserError) -> Iterator[Finding]:
    """An image file that turns out to be unreadable when it is decoded, or is elongated."""
    if isinstance(file, UserError):
        yield Finding("unreadable image", BROKEN, str(file))
        return
    width, height = record.width, record.height
    if max(width, height) > MOST_SQUASHED * min(width, height):
        squashed = f"{record.path}: {width}x{height} is squashed into a square"
        yield Finding("extreme image shape", ODD, squashed)


def box_findings(record: Record, classes: Sequence[str], input_size: int) -> Iterator[Finding]:
    """Boxes below one pixel at the model's input, and boxes that cover the whole image."""
    sides = (record.boxes[:, 2:] - record.boxes[:, :2]) / (record.width, record.height)
    tiny = (sides * input_size < 1).any(1)
    whole = (sides >= WHOLE_IMAGE).all(1)
    for rows, kind, what in (
        (tiny, "box below one pixel", f"is less than a pixel wide or high at {input_size} pixels"),
        (whole, "box of the whole image", "covers the whole image"),
    ):
        for row in np.flatnonzero(rows & ~record.crowd).tolist():
            box = f"{classes[record.labels[row] - 1]!r} at {_corners(record.boxes[row])}"
            yield Finding(kind, ODD, f"{record.path}: {box} {what}")


def repeated_boxes(record: Record, classes: Sequence[str]) -> Iterator[Finding]:
    """Objects that repeat an earlier one: the same object twice, or two classes in one box."""
    own = ~record.crowd
    boxes, labels = record.boxes[own], record.labels[own]
    corners = torch.from_numpy(boxes)
    iou = pairwise_iou(corners, corners).numpy()
    same_class = labels[:, None] == labels
    same_box = (boxes[:, None] == boxes).all(2)
    for repeats, kind in (
        (same_class & (iou >= SAME_OBJECT_IOU), "object annotated twice"),
        (~same_class & same_box, "two classes in one box"),
    ):
        earlier = np.triu(repeats, 1)
        for row in np.flatnonzero(earlier.any(0)).tolist():
            first, second = (
                f"{classes[labels[one] - 1]!r} at {_corners(boxes[one])}"
                for one in (int(earlier[:, row].argmax()), row)
            )
            yield Finding(kind, ODD, f"{record.path}: {first} and {second}")


def unlisted(config: DataConfig) -> Iterator[Finding]:
    """One finding for each VOC folder with files that no list names."""
    splits = [
        split
        for given in (config.train_split, config.eval_split)
        for split in ([given] if isinstance(given, str) else given or [])
    ]
    for folder, names in unlisted_files(Path(config.root), splits).items():
        message = f"{folder}: no image list names {len(names)} files: {_first(names)}"
        yield Finding("unlisted files", ODD, message)


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_FILES])
    return shown if len(names) <= SHOWN_FILES else f"{shown} …"


def _corners(box: FloatArray) -> str:
    return "(" + ", ".join(f"{side:g}" for side in box.tolist()) + ")"
