"""The box around an object's outline, which COCO has as polygons or as a mask of runs.

pycocotools also knows the boxes of masks, but breaks the memory of the process on text that is
none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ssd.common.untrusted import as_whole, check_pixels, required, short

MOST_BITS = 40  # of a run in a mask's text


def around_polygons(outline: Any) -> list[float]:
    """The box [x, y, width, height] around polygons [[x1, y1, x2, y2, …], …], or a single one.

    Raises:
        ValueError: these are no polygons.
    """
    parts = outline if isinstance(outline, list) and isinstance(outline[0], list) else [outline]
    try:
        points = np.concatenate([np.asarray(part, np.float64).reshape(-1, 2) for part in parts])
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    except (ValueError, TypeError, OverflowError):
        rule = "polygons [[x1, y1, x2, y2, …], …], or a mask with counts and size"
        raise ValueError(f"segmentation is {short(outline)}, but has to be {rule}") from None
    return [left, top, right - left, bottom - top]


def around_mask(outline: dict[str, Any]) -> list[float]:
    """The box [x, y, width, height] around the pixels of a run-length encoded mask.

    `counts` are the lengths of runs, down one column after another; the first is of pixels outside
    the mask, the next of pixels inside, and so on. Or they are such a list as text.

    Raises:
        ValueError: this is no mask.
    """
    counts, size = required(outline, "counts", "size")
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError(f"the mask's size is {short(size)}, but has to be [height, width]")
    height, width = (as_whole("the mask's size", side, 1) for side in size)
    check_pixels(width, height)
    if isinstance(counts, str):
        counts = _runs_of_text(counts)
    if not isinstance(counts, list):
        raise ValueError(f"the mask's counts are {short(counts)}, but have to be a list or a text")
    runs = [as_whole("a run of the mask", run, 0) for run in counts]
    if sum(runs) != height * width:
        raise ValueError(f"the mask's runs do not add up to its {width}x{height} pixels")
    ends = np.cumsum(runs)
    last = ends[1::2] - 1
    first = ends[::2][: len(last)]
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        return [0, 0, 0, 0]
    left, right = int(first[0]) // height, int(last[-1]) // height + 1
    if (first // height != last // height).any():  # such a run touches both borders
        return [left, 0, right - left, height]
    top, bottom = int((first % height).min()), int((last % height).max()) + 1
    return [left, top, right - left, bottom - top]


def _runs_of_text(text: str) -> list[int]:
    """The runs that a text stands for: letters of 5 bits from "0" on, the lowest bits first.

    A sixth bit says that more follow. The number is signed, and from the fourth on it is the
    difference to the run before the previous one.
    """
    runs: list[int] = []
    number = bits = 0
    for letter in text:
        value = ord(letter) - ord("0")
        if not 0 <= value < 64 or bits >= MOST_BITS:
            raise ValueError(f"the mask's counts are {short(text)}, which is no text of a mask")
        number |= (value & 31) << bits
        bits += 5
        if value & 32:
            continue
        if value & 16:
            number -= 1 << bits
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = bits = 0
    return runs
