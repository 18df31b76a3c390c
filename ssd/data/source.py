"""Loads the data set that the settings name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.words import counted
from ssd.config import DataConfig
from ssd.config.data import SHARE
from ssd.data import shapes
from ssd.data.annotations import Annotations
from ssd.data.coco import annotate_coco
from ssd.data.doubts import weigh
from ssd.data.findings import Findings, Refuse
from ssd.data.frames import CONTRADICTING, in_frame, likely_reason
from ssd.data.headers import read_headers
from ssd.data.left_out import refuse_too_many, without_broken
from ssd.data.settle import settle
from ssd.data.split import evaluated, missing_held_out, only, read_division
from ssd.data.survey import given_folder
from ssd.data.voc import annotate_voc, choose_classes
from ssd.data.voc_layout import VocFolders
from ssd.data.yolo import annotate_yolo
from ssd.structures import DataSet


def load_data(
    config: DataConfig,
    splits: str | list[str],
    classes: Sequence[str] | None,
    findings: Findings | None = None,
    division: Path | None = None,
    headers: Path | None = None,
) -> DataSet:
    """Reads the annotations of `splits`, and draws the embedded data set first if needed.

    Args:
        config: the location and the format of the data, as `locate` returns it.
        splits: one or several, as in `data.train_split` or `data.eval_split`.
        classes: names in the order of their labels; if None, those of the annotations.
        findings: receives the problems; if None, the first broken entry is an error, and so are
            more unusable images than `data.max_unreadable` allows.
        division: the file in the run folder that keeps which images `data.eval_split share`
            evaluates on; if None or if there is none yet, they are drawn.
        headers: the file in the run folder that keeps the headers of the images; None for none.

    Raises:
        UserError: the data is missing or invalid.
    """
    refuse = Refuse()
    told = findings or refuse
    names = _names(config.train_split if splits == SHARE else splits)
    found = annotate(config, names, classes, told)
    if splits == SHARE or (config.eval_split == SHARE and splits == config.train_split):
        found = share_of(found, config, division, to_evaluate=splits == SHARE)
        if splits == SHARE:  # those without an image or an annotation are told by the other part
            refuse.left_out.clear()
    data = _held_against_images(found, config, names, classes, told, headers)
    return _with_missing(data, division) if splits == SHARE else data


def load_parts(
    config: DataConfig, division: Path | None = None, headers: Path | None = None
) -> tuple[DataSet, DataSet]:
    """Reads the annotations once for both parts of `data.eval_split share`, as `load_data` does.

    Returns:
        The images to train on, and those to evaluate on, with the same classes.

    Raises:
        UserError: the data is missing or invalid.
    """
    told = Refuse()
    names = _names(config.train_split)
    found = annotate(config, names, config.classes, told)
    train, held_out = (
        share_of(found, config, division, to_evaluate=to_evaluate) for to_evaluate in (False, True)
    )
    train_data = _held_against_images(train, config, names, config.classes, told, headers)
    classes = train_data.classes
    eval_data = _held_against_images(held_out, config, names, classes, Refuse(), headers)
    return train_data, _with_missing(eval_data, division)


def _with_missing(held_out: DataSet, division: Path | None) -> DataSet:
    """The held-out images with a line about those of the division that are missing."""
    kept = None if division is None else read_division(division)
    there = {record.image_id for record in held_out.records}
    return replace(held_out, missing=missing_held_out(kept or {}, there))


def _names(splits: str | list[str]) -> list[str]:
    return [splits] if isinstance(splits, str) else splits


def _held_against_images(
    found: Annotations,
    config: DataConfig,
    names: Sequence[str],
    classes: Sequence[str] | None,
    told: Findings,
    headers: Path | None,
) -> DataSet:
    """The data set of the annotations, without the images that cannot be read."""
    seen = read_headers([image.path for image in found.images], headers)
    contradicting = likely_reason(found.images, seen)
    found = in_frame(found, seen, config.exif, told)
    where = f"{config.root}, {', '.join(names)}"
    left_out = told.left_out if isinstance(told, Refuse) else []
    unusable = tuple(finding.message for finding in left_out)
    refuse_too_many(
        unusable,
        len(found.images) + len(unusable),
        config.max_unreadable,
        f"images of {where}",
        f"ssd check {config.root} lists all",
        contradicting if all(one.kind == CONTRADICTING for one in left_out) else "",
    )
    if not found.images:
        raise UserError(f"{where}: no image can be used: ssd check lists why")
    data = settle(found, choose_classes(where, found, classes), told)
    weigh(data.doubt, config.max_mended, told)
    return replace(data, unusable=unusable)


def share_of(
    found: Annotations, config: DataConfig, division: Path | None, *, to_evaluate: bool
) -> Annotations:
    """The part of a split that is held out to evaluate on, or the other part.

    The repairs of both are counted in the latter.

    Raises:
        UserError: the file of the division is damaged, or none of its images is left.
    """
    kept = None if division is None else read_division(division)
    image_ids = [image.image_id for image in found.images]
    mask = evaluated(image_ids, config.eval_share, config.split_seed, kept)
    part = only(found, mask if to_evaluate else ~mask)
    if not part.images:
        use = "to evaluate on" if to_evaluate else "to train on"
        raise UserError(
            f"{config.root}: none of the images that {division} keeps {use} is left: put them "
            "back, or start a new run with another --out"
        )
    return replace(part, repairs=Counter()) if to_evaluate else part


def annotate(
    config: DataConfig, splits: Sequence[str], classes: Sequence[str] | None, findings: Findings
) -> Annotations:
    """The images of `splits` all of whose objects can be read, by the reader of the format."""
    found = without_broken(_read(config, splits, classes, findings), findings)
    if not found.images and isinstance(findings, Refuse) and (lost := findings.left_out):
        first = f"{counted(len(lost), 'image')}; the first: {lost[0].message}"
        raise UserError(
            f"{config.root}, {', '.join(splits)}: no image can be used ({first}): "
            f"ssd check {config.root} lists all"
        )
    return found


def _read(
    config: DataConfig, splits: Sequence[str], classes: Sequence[str] | None, findings: Findings
) -> Annotations:
    root = Path(config.root)
    if not root.is_dir() and config.format != "shapes":
        raise UserError(f"data.root {root} is not a folder: set it to the folder of the data")
    images, annotations = (
        None if name is None else given_folder(root, name)
        for name in (config.images, config.annotations)
    )
    if config.format == "coco":
        return annotate_coco(root, splits, classes, findings, images, annotations)
    if config.format == "yolo":
        return annotate_yolo(root, splits, findings, annotations)
    if config.format == "shapes":
        shapes.ensure_shapes(root, shapes.NUM_TRAINVAL, shapes.NUM_TEST)
    folders = VocFolders(root, images, annotations)
    return annotate_voc(root, folders.splits(splits), findings, config.background)
