"""Finds data with no object to train on or to evaluate on, for training and the check of data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import shown
from ssd.common.words import counted
from ssd.config import DataConfig
from ssd.data.class_names import meant
from ssd.data.findings import Finding
from ssd.structures import DataSet


def refuse(findings: Iterable[Finding]) -> None:
    """Raises a UserError for the first finding that is broken."""
    for finding in findings:
        if finding.is_broken:
            raise UserError(finding.message)


def objects_per_class(data: DataSet, train_difficult: bool) -> dict[str, int]:
    """The number of objects of each class that training uses."""
    labels = [record.labels[record.trained_on(train_difficult)] for record in data.records]
    counts = np.bincount(np.concatenate([[0], *labels]), minlength=len(data.classes) + 1)
    return dict(zip(data.classes, counts[1:].tolist(), strict=True))


def nothing_to_learn(train: DataSet, config: DataConfig) -> Iterator[Finding]:
    """No object to train on, or none of a class; the latter is broken if classes are given."""
    if not train.records:
        return
    counts = objects_per_class(train, config.train_difficult)
    where = f"{config.root}, {_listed(config.train_split)}"
    if not any(counts.values()):
        why = _why_none_counts(train, "train", config.train_difficult)
        yield Finding("nothing to train on", True, f"{where}: {why}")
        return
    missing = [name for name, count in counts.items() if count == 0]
    if missing and config.classes is not None:
        images = counted(len(train.records), "training image")
        yield Finding(
            "class without objects",
            True,
            f"{where}: data.classes has {shown(missing)}, but none of {images} has such an "
            f"object{meant(missing, train.left_out)}: set --data.classes to names of the "
            "annotations",
        )
        return
    for name in missing:
        message = f"{where}: no training image has an object of class {name!r}"
        yield Finding("class without objects", False, f"{message}: it will never be found")


def nothing_to_evaluate(evaluation: DataSet, config: DataConfig) -> Iterator[Finding]:
    """No object that an evaluation counts, by which every average precision is undefined."""
    records = evaluation.records
    if records and not any(record.trained_on(False).any() for record in records):
        why = _why_none_counts(evaluation, "evaluate", False)
        where = f"{config.root}, {_listed(config.eval_split)}"
        yield Finding("nothing to evaluate on", True, f"{where}: {why}")


def _why_none_counts(data: DataSet, use: str, with_difficult: bool) -> str:
    """The reason why none of the objects counts, and what to do; `use` is `train` or `evaluate`."""
    records = data.records
    crowds = sum(int(record.crowd.sum()) for record in records)
    difficult = sum(int((record.difficult & ~record.crowd).sum()) for record in records)
    split = "--data.train_split"
    if use == "evaluate":
        split = "--data.eval_split, or --data.eval_split null to train without evaluation"
    if not crowds and not difficult:
        none = f"none of {counted(len(records), 'image')} has an object with a usable box"
        of = f"of the classes {shown(data.classes)}{meant(data.classes, data.left_out)}"
        return f"{none} {of}: give other --data.classes, or another {split}"
    kinds = [
        f"{crowds:,} with iscrowd 1" if crowds else "",
        f"{difficult:,} marked difficult" if difficult and not with_difficult else "",
    ]
    some = f"there is no object to {use} on, only {' and '.join(filter(None, kinds))}"
    if use == "train" and difficult:
        return f"{some}: set --data.train_difficult true, or correct the annotations"
    return f"{some}: correct the annotations, or give another {split}"


def _listed(splits: str | list[str] | None) -> str:
    return splits if isinstance(splits, str) else ", ".join(splits or [])
