"""Checks a data set, file by file.

A finding is broken if it stops training or makes it learn something wrong, and odd if training
copes with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd.common.errors import UserError
from ssd.common.machine import usable_cores
from ssd.common.sides import Size
from ssd.common.words import counted
from ssd.config import DataConfig, EvaluationConfig
from ssd.config.data import SHARE
from ssd.data.findings import Collect, Finding
from ssd.data.layout import locate
from ssd.data.learnable import nothing_to_evaluate, nothing_to_learn
from ssd.data.num_workers import num_workers
from ssd.data.source import load_data
from ssd.data.unlisted import unlisted_images
from ssd.data.voc_images import unlisted_files
from ssd.doctor.box_rules import Boxes, box_findings, repeated_boxes
from ssd.doctor.image_files import read_image_files
from ssd.evaluation.crowded import crowded
from ssd.structures import DataSet, Record

BROKEN, ODD = True, False
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
    def repairs(self) -> dict[str, int]:
        """The number of mended entries in the annotations of both splits, by kind."""
        return dict(Counter(self.train.repairs) + Counter(self.evaluation.repairs))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes to learn; the evaluation's own where the training data cannot be read."""
        return self.train.classes or self.evaluation.classes


def check_data(
    config: DataConfig, input_size: Size, evaluation: EvaluationConfig | None = None
) -> Checked:
    """Reads all annotations and images of both splits and applies every rule.

    A finding that merely follows from others is left out.

    Args:
        config: the section of the config.
        input_size: of the model: height and width in pixels, or one number.
        evaluation: the section of the config, of which the limits are held against the data.

    Raises:
        UserError: `data.root` is not a folder.
    """
    config, _ = locate(config)
    train = _read(config, config.train_split, config.classes)
    held_out = Split(DataSet([], (), {}), [])
    if config.eval_split is not None:
        held_out = _read(config, config.eval_split, train.data.classes or None)
    both = {"train": train, "eval": held_out}
    records = [record for split in both.values() for record in split.data.records]
    files = read_image_files(records, max(num_workers(config.workers, beside=None), usable_cores()))
    found = [
        *train.told,
        *held_out.told,
        *_unless_lost(train, nothing_to_learn(train.data, config)),
        *_unless_lost(held_out, nothing_to_evaluate(held_out.data, config)),
        *rare_classes(train.data),
        *alike_classes([train.data, held_out.data]),
        *left_out_classes(train.data, "training"),
        *left_out_classes(held_out.data, "evaluation"),
        *in_both_splits(train.data.records, held_out.data.records),
        *identical_files(train.data.records, held_out.data.records, files),
    ]
    for name, split in both.items():
        found += images_without_objects(split.data, name)
        found += many_objects(split.data, name, evaluation or EvaluationConfig())
        found += split_findings(split.data, files, input_size)
    if not (train.is_unreadable or held_out.is_unreadable):
        found += unlisted(config)
    return Checked(train.data, held_out.data, list(dict.fromkeys(found)))


@dataclass(frozen=True)
class Split:
    """A split, and what its reader told; the data set is empty if it cannot be read at all."""

    data: DataSet
    told: list[Finding]
    is_unreadable: bool = False

    @property
    def is_broken(self) -> bool:
        """True if the reader has left something out."""
        return any(finding.is_broken for finding in self.told)


def _read(config: DataConfig, splits: str | list[str], classes: Sequence[str] | None) -> Split:
    told = Collect()
    try:
        data = load_data(config, splits, classes, told)
        # In a list, since columns make a record anew each time it is asked for.
        return Split(replace(data, records=list(data.records)), told.findings)
    except UserError as error:
        if not Path(config.root).is_dir():
            raise
        split = Split(DataSet([], tuple(classes or ()), {}), told.findings, True)
        if not split.is_broken:  # else it may follow from what is broken
            told.broken("unreadable split", str(error))
        return split


def _unless_lost(split: Split, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings about a lack of objects, unless all of them were left out as broken."""
    lost = split.is_broken and not any(len(record.labels) for record in split.data.records)
    return iter(()) if lost else iter(findings)


def split_findings(data: DataSet, files: Files, input_size: Size) -> Iterator[Finding]:
    """The findings about the images of a split and the objects in them."""
    for record in data.records:
        yield from image_findings(record, files[record.path])
    objects = Boxes(data)
    yield from box_findings(objects, input_size)
    yield from repeated_boxes(objects)


class Seen(NamedTuple):
    """The number of objects of a class, and the file of the first of them."""

    objects: int = 0
    first: Path | None = None


def rare_classes(train: DataSet) -> Iterator[Finding]:
    """Classes with very few objects where the median class has many."""
    seen = _seen_by_class(train)
    median = np.median([one.objects for one in seen.values()] or [0])
    for name, one in seen.items():
        if 0 < one.objects < FEW_OBJECTS and median >= MANY_OBJECTS:
            few = f"class {_counted(name, one)} is rare: the median class has {median:g}"
            yield Finding("rare class", ODD, few)


def alike_classes(data_sets: Sequence[DataSet]) -> Iterator[Finding]:
    """Class names that differ only in case, spaces or punctuation, left-out classes included."""
    seen: dict[str, Seen] = {}
    for data in data_sets:
        left_out = {name: Seen(len(paths), paths[0]) for name, paths in data.left_out.items()}
        for name, one in [*_seen_by_class(data).items(), *left_out.items()]:
            before = seen.get(name, Seen())
            seen[name] = Seen(before.objects + one.objects, before.first or one.first)
    alike: dict[str, list[str]] = {}
    for name in sorted(seen, key=lambda name: -seen[name].objects):
        alike.setdefault(re.sub(r"[\W_]", "", name.casefold()) or name, []).append(name)
    for common, *others in alike.values():
        for other in others:
            pair = f"{_counted(other, seen[other])} and {_counted(common, seen[common])}"
            message = f"classes {pair} are spelled alike: use one name for each class"
            yield Finding("class names alike", ODD, message)


def left_out_classes(data: DataSet, use: str) -> Iterator[Finding]:
    """Classes of the annotations that are not among those to learn."""
    for name, paths in data.left_out.items():
        why = "it is not among the classes to detect"
        seen = Seen(len(paths), paths[0])
        message = f"class {_counted(name, seen)} is left out of {use}: {why}"
        yield Finding("class left out", ODD, message)


def _seen_by_class(data: DataSet) -> dict[str, Seen]:
    """The objects of each class, without crowds."""
    own = [record.labels[~record.crowd] for record in data.records]
    labels = np.concatenate([np.zeros(0, np.int64), *own])
    image_index = np.repeat(np.arange(len(own)), np.array([len(one) for one in own], np.int64))
    present, rows, counts = np.unique(labels, return_index=True, return_counts=True)
    seen = dict.fromkeys(data.classes, Seen())
    for label, row, count in zip(present.tolist(), rows, counts.tolist(), strict=True):
        path = data.records[int(image_index[row])].path
        seen[data.classes[label - 1]] = Seen(count, path)
    return seen


def _counted(name: str, seen: Seen) -> str:
    first = f", the first in {seen.first}" if seen.first else ""
    return f"{name!r} ({counted(seen.objects, 'object')}{first})"


def images_without_objects(data: DataSet, split: str) -> Iterator[Finding]:
    """One finding for all images that have no object; if none has one, that is another finding."""
    empty = [str(record.path) for record in data.records if not len(record.labels)]
    if 0 < len(empty) < len(data.records):
        have = "has" if len(empty) == 1 else "have"
        some = f"{split}: {len(empty):,} of {len(data.records):,} images {have} no object"
        yield Finding("images without objects", ODD, f"{some}: {_first(empty)}")


def many_objects(data: DataSet, split: str, evaluation: EvaluationConfig) -> Iterator[Finding]:
    """One finding for all images with more objects than an evaluation may count."""
    if line := crowded(data, evaluation):
        yield Finding("many objects in an image", ODD, f"{split}: {line}")


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


def unlisted(config: DataConfig) -> Iterator[Finding]:
    """One finding for each folder with files of the data that no split names."""
    splits = [
        split
        for given in (config.train_split, config.eval_split)
        for split in ([given] if isinstance(given, str) else given or [])
        if split != SHARE
    ]
    found: Mapping[Path, Sequence[str]] = {}
    if config.format in ("voc", "shapes"):
        found, none = unlisted_files(Path(config.root), splits), "no image list"
    else:
        none = "no split"
        with suppress(UserError):  # another split may be damaged, and name any of them
            found = unlisted_images(config, splits)
    for folder, names in found.items():
        message = f"{folder}: {none} names {counted(len(names), 'file')}: {_first(names)}"
        yield Finding("unlisted files", ODD, message)


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_FILES])
    return shown if len(names) <= SHOWN_FILES else f"{shown} …"
