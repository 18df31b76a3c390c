"""The findings of the readers of all formats, before they are held against the image files.

voc, coco, yolo ─► Annotations ─ settle ─► DataSet
images ─► Headers ──────────┘
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ssd.structures import BoolArray, IntArray


class Listed(NamedTuple):
    """An image of a split, as its annotation describes it.

    | field | type | unit |
    |---|---|---|
    | image_id | str | see `Record` |
    | path | Path | the image file |
    | width, height | int | pixels by the annotation; 0 where it does not say |
    | source | Path | the file to look into for a wrong object; `path` if there is no label file |
    | orientation | int | see `Record`; `ssd.data.frames` sets it |
    """

    image_id: str
    path: Path
    width: int
    height: int
    source: Path
    orientation: int = 1


@dataclass
class Annotations:
    """The images of some splits and their objects, in columns with one row for each object.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | images | – | list[Listed] | in the order of the splits |
    | names | – | list[str] | the classes, in the format's own order |
    | image_index | [N] | int64 | position in `images` |
    | category | [N] | int64 | position in `names` |
    | corners | [N, 4] | float64 | xyxy, 0-based pixels; relative to the image if `relative` |
    | sound | [N] | bool | the box has an area, by the format's own rule |
    | difficult, crowd | [N] | bool | see `Record` |
    | called | – | row → str | the object in a message, after the name of its file |
    | relative | – | bool | corners are 0 … 1 |
    | swapped | [N, 2] or None | bool | in x, in y: the file has the ends of the box exchanged |
    | category_ids | – | dict or None | COCO's id of each name |
    | sides | [N, 4] or None | float64 | COCO's own x, y, width, height |
    | areas | [N] or None | float64 | COCO's own, in pixels |
    | repairs | – | Counter | how many entries were mended, by the kind of the fault |
    | broken | – | dict | what is wrong with the objects that cannot be read, by their image |
    """

    images: list[Listed]
    names: list[str]
    image_index: IntArray
    category: IntArray
    corners: npt.NDArray[np.float64]
    sound: BoolArray
    difficult: BoolArray
    crowd: BoolArray
    called: Callable[[int], str]
    relative: bool = False
    swapped: BoolArray | None = None
    category_ids: Mapping[str, int | str] | None = None
    sides: npt.NDArray[np.float64] | None = None
    areas: npt.NDArray[np.float64] | None = None
    repairs: Counter[str] = field(default_factory=Counter)
    broken: Mapping[int, Sequence[str]] = field(default_factory=dict)
