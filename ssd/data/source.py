"""Loads the data set that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import shown
from ssd.config import DataConfig
from ssd.data import shapes
from ssd.data.coco import read_coco
from ssd.data.findings import Findings
from ssd.data.voc import read_voc
from ssd.structures import DataSet


def load_data(
    config: DataConfig,
    splits: str | list[str],
    classes: Sequence[str] | None,
    findings: Findings | None = None,
    division: Path | None = None,
) -> DataSet:
    """Reads the annotations of `splits`, and draws the embedded data set first if needed.

    Args:
        config: the location and the format of the data, as `locate` returns it.
        splits: one or several, as in `data.train_split` or `data.eval_split`.
        classes: names in the order of their labels; if None, those of the annotations.
        findings: receives the problems; if None, the first broken entry is an error.
        division: the file in the run folder that keeps which images `data.eval_split share`
            evaluates on; if None or if there is none yet, they are drawn.

    Raises:
        UserError: the data is missing or invalid.
    """
    refuse = Refuse()
    told = findings or refuse
    wanted = config.train_split if splits == SHARE else splits
    names = [wanted] if isinstance(wanted, str) else wanted
    found = annotate(config, names, told)
    if refuse.left_out:
        raise UserError(refuse.left_out[0].message)
    if splits == SHARE or (config.eval_split == SHARE and splits == config.train_split):
        kept = None if division is None else read_division(division)
        image_ids = [image.image_id for image in found.images]
        mask = evaluated(image_ids, config.eval_share, config.split_seed, kept)
        found = only(found, mask if splits == SHARE else ~mask)
    where = f"{config.root}, {', '.join(names)}"
    if not found.images:
        raise UserError(f"{where}: no image can be used: ssd check lists why")
    return settle(with_sizes(found, told), choose_classes(where, found, classes), told)


def annotate(config: DataConfig, splits: Sequence[str], findings: Findings) -> Annotations:
    """The images of `splits` and their objects, by the reader of the format."""
    root = Path(config.root)
    if not root.is_dir() and config.format != "shapes":
        raise UserError(f"data.root {root} is not a folder: set it to the folder of the data")
    images, annotations = (
        None if name is None else given_folder(root, name)
        for name in (config.images, config.annotations)
    )
    if config.format == "coco":
        return annotate_coco(root, splits, findings, images, annotations)
    if config.format == "yolo":
        return annotate_yolo(root, splits, findings, annotations)
    if config.format == "shapes":
        shapes.ensure_shapes(root, shapes.NUM_TRAINVAL, shapes.NUM_TEST)
    folders = VocFolders(root, images, annotations, config.background)
    named = [folders.split(split) for split in splits]
    return annotate_voc(root, named, findings, config.background)


def objects_per_class(data: DataSet, asked_for: list[str] | None) -> dict[str, int]:
    """The number of training objects of each class, without crowds.

    Raises:
        UserError: a class that the config asks for has no objects.
    """
    labels = np.concatenate([record.labels[~record.crowd] for record in data.records])
    counts = np.bincount(labels, minlength=len(data.classes) + 1)[1:].tolist()
    missing = [name for name, count in zip(data.classes, counts, strict=True) if count == 0]
    if asked_for is not None and missing:
        raise UserError(
            f"data.classes has {shown(missing)}, but none of {len(data.records)} training "
            "images has such an object: compare it with the names in the annotations"
        )
    return dict(zip(data.classes, counts, strict=True))
