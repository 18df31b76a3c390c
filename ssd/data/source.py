"""Loads the data set that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data import shapes
from ssd.data.coco import read_coco
from ssd.data.doubts import weigh
from ssd.data.findings import Findings, Refuse
from ssd.data.voc import read_voc
from ssd.structures import DataSet


def load_data(
    config: DataConfig,
    splits: str | list[str],
    classes: Sequence[str] | None,
    findings: Findings | None = None,
) -> DataSet:
    """Reads the annotations of `splits`, and draws the embedded data set first if needed.

    Args:
        config: the location and the format of the data.
        splits: one image list or several, as in `data.train_split`.
        classes: names in the order of their labels; if None, those of the annotations.
        findings: receives the problems; if None, the first broken entry is an error.

    Raises:
        UserError: the data is missing or invalid.
    """
    findings = findings or Refuse()
    data = _read(config, splits, classes, findings)
    weigh(data.doubt, config.max_mended, findings)
    return data


def _read(
    config: DataConfig,
    splits: str | list[str],
    classes: Sequence[str] | None,
    findings: Findings,
) -> DataSet:
    root = Path(config.root)
    if config.format != "shapes" and config.root == DataConfig().root:
        raise UserError("data.root is not set: give --data.root and the folder of the data")
    names = [splits] if isinstance(splits, str) else splits
    match config.format:
        case "shapes":
            shapes.ensure_shapes(root, shapes.NUM_TRAINVAL, shapes.NUM_TEST)
            return read_voc(root, names, classes, findings)
        case "voc":
            return read_voc(root, names, classes, findings)
        case "coco":
            return read_coco(root, names, classes, findings)
