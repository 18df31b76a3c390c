"""The data set that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.config import DataConfig
from ssd.data.shapes import ensure_shapes
from ssd.data.voc import DataSet, read_voc


def load_data(
    config: DataConfig, splits: str | list[str], classes: Sequence[str] | None
) -> DataSet:
    """Reads the annotations of `splits`; the embedded set is drawn first if need be.

    Args:
        config: where the data lies, and in which format.
        splits: one image list or several, as in `data.train_split`.
        classes: names in the order of their labels; without them, those of the annotations.

    Raises:
        UserError: the data is missing or makes no sense.
    """
    root = Path(config.root)
    names = [splits] if isinstance(splits, str) else splits
    match config.format:
        case "shapes":
            ensure_shapes(root)
            return read_voc(root, names, classes)
        case "voc":
            return read_voc(root, names, classes)
