"""Loads the data set that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.config.data import SHARE
from ssd.data import shapes
from ssd.data.annotations import Annotations
from ssd.data.coco import annotate_coco
from ssd.data.doubts import weigh
from ssd.data.findings import Findings, Refuse
from ssd.data.image import read_image
from ssd.data.settle import settle
from ssd.data.split import evaluated, only, read_division
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
    found = annotate(config, names, classes, told)
    if refuse.left_out:
        raise UserError(refuse.left_out[0].message)
    if splits == SHARE or (config.eval_split == SHARE and splits == config.train_split):
        kept = None if division is None else read_division(division)
        image_ids = [image.image_id for image in found.images]
        mask = evaluated(image_ids, config.eval_share, config.split_seed, kept)
        found = only(found, np.equal(mask, splits == SHARE))
    where = f"{config.root}, {', '.join(names)}"
    if not found.images:
        raise UserError(f"{where}: no image can be used: ssd check lists why")
    data = settle(with_sizes(found, told), choose_classes(where, found, classes), told)
    weigh(data.doubt, config.max_mended, told)
    return data


def annotate(
    config: DataConfig, splits: Sequence[str], classes: Sequence[str] | None, findings: Findings
) -> Annotations:
    """The images of `splits` and their objects, by the reader of the format."""
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
    folders = VocFolders(root, images, annotations, config.background)
    named = [folders.split(split) for split in splits]
    return annotate_voc(root, named, findings, config.background)


def with_sizes(found: Annotations, findings: Findings) -> Annotations:
    """The annotations with the sizes that they lack, read from the image files."""
    sizes_I2 = np.array([image[2:4] for image in found.images]).reshape(-1, 2)
    unknown = (sizes_I2 == 0).any(1)
    if not unknown.any():
        return found
    for index in np.flatnonzero(unknown).tolist():
        try:
            height, width = read_image(found.images[index].path).shape[:2]
            sizes_I2[index] = width, height
        except UserError as error:
            findings.unusable("unreadable image", str(error))
    known = (sizes_I2 > 0).all(1)
    images = [
        image._replace(width=width, height=height)
        for image, (width, height) in zip(found.images, sizes_I2.tolist(), strict=True)
    ]
    found = only(replace(found, images=images), known)
    scale = np.tile(sizes_I2[known][found.image_index], 2) if found.relative else 1
    return replace(found, corners=found.corners * scale, relative=False)
