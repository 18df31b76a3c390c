"""Many boxes of a data set that make no sense → the number of them, and the likely reason.

A few accidental clicks are in every data set. Where a large part of the boxes has no area, lies
outside its image or far across its border, or has swapped corners, the numbers probably mean
something else than the format says. The reason is found by trial: the reading by which nearly all
boxes lie in their images.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import numpy.typing as npt

from ssd.common.words import counted
from ssd.data.annotations import Annotations
from ssd.data.findings import Findings
from ssd.structures import BoolArray, Doubt

LOUD = 0.1  # share of the objects from which on they are told even where they are allowed
FITS = 0.95  # share of the boxes that a reading has to explain
SLACK = 2  # pixels by which tools round beyond the border
SLACK_SHARE = 0.02  # of a side, by which resized boxes reach beyond the border too

Boxes = npt.NDArray[np.float64]


def weigh(doubt: Doubt | None, max_mended: float, findings: Findings) -> None:
    """Reports doubtful boxes if they are many, and as broken if they exceed `max_mended`."""
    if doubt and doubt.exceeds(max_mended):
        least = ceil(100 * doubt.doubtful / doubt.objects) / 100
        remedy = f"correct the annotations, or set --data.max_mended {least:g} to train anyway"
        findings.broken("many doubtful boxes", f"{doubt.message}: {remedy}")
    elif loud := loud_doubt(doubt):
        findings.odd("many doubtful boxes", loud)


def loud_doubt(doubt: Doubt | None) -> str:
    """The message if the doubtful boxes are many, although they may be allowed; else nothing."""
    return doubt.message if doubt and doubt.exceeds(LOUD) else ""


def doubt_of(found: Annotations, classes: Sequence[str]) -> Doubt | None:
    """Counts the doubtful boxes of the objects of these classes, and looks for the reason."""
    sizes_I2 = np.array([(one.width, one.height) for one in found.images], np.float64)
    sizes_N2 = sizes_I2.reshape(-1, 2)[found.image_index]
    known = set(classes)
    wanted = np.array([False, *(name in known for name in found.names)])[found.category + 1]
    judged = np.flatnonzero(wanted & (sizes_N2 > 0).all(1))
    boxes, sizes = found.corners[judged], sizes_N2[judged]
    if found.swapped is not None:  # as the file has them
        boxes = np.where(np.tile(found.swapped[judged], 2), boxes[:, [2, 3, 0, 1]], boxes)
    kinds = _doubtful(boxes, sizes, found.sound[judged])
    wrong = np.any(list(kinds.values()), axis=0)
    parts = ", ".join(f"{rows.sum():,} {kind}" for kind, rows in kinds.items() if rows.any())
    if not parts:
        return None
    first = int(judged[wrong.argmax()])
    where = f"{found.images[found.image_index[first]].source}: {found.called(first)}"
    share = f"{wrong.sum():,} of {counted(len(judged), 'object')} ({100 * wrong.mean():.0f} %)"
    reason = (
        _reason(boxes, sizes, wrong, found.sides is not None)
        or "no simple reason explains them all"
    )
    message = f"the boxes of {share} make no sense ({parts}; the first: {where}): {reason}"
    return Doubt(int(wrong.sum()), len(judged), message)


def _doubtful(boxes: Boxes, sizes: Boxes, sound: BoolArray) -> dict[str, BoolArray]:
    """A mask [N] for each kind of doubtful box; a box is in at most one of them."""
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, 2:] + boxes[:, :2]) / 2
    swapped = (sides < 0).any(1) & (sides != 0).all(1)
    outside = ((centres < 0) | (centres > sizes)).any(1) & ~swapped
    flat = ~swapped & ~outside & ~(sound & (sides > 0).all(1))
    small = ~swapped & ~outside & ~flat & (sides < 1).all(1)
    excess = np.maximum(-boxes[:, :2], boxes[:, 2:] - sizes)
    across = (excess > np.maximum(SLACK, SLACK_SHARE * sides)).any(1)
    return {
        "with swapped corners": swapped,
        "outside the image": outside,
        "without area": flat,
        "below one pixel": small,
        "across the border of the image": across & ~swapped & ~outside & ~flat & ~small,
    }


def _reason(boxes: Boxes, sizes: Boxes, wrong: BoolArray, has_sides: bool) -> str:
    """The first reading by which nearly all boxes lie in their images; empty if there is none.

    Args:
        boxes: [N, 4] corners as the file has them.
        sizes: [N, 2] width and height of the image.
        wrong: [N] the doubtful ones.
        has_sides: the file has x, y, width, height.
    """

    def fit(reading: Boxes) -> bool:
        inside = _inside(reading, sizes)
        return _nearly_all(inside) and _nearly_all(inside[wrong])

    starts, ends = boxes[:, :2], boxes[:, 2:]
    if _nearly_all(np.abs(boxes).max(1) <= 1):  # VOC's are less 1
        return "they are probably parts of the image from 0 to 1, where the format has pixels"
    if fit(boxes):  # they are only small
        return ""
    # Corners swapped by a tool may lie so too, but hardly in both directions.
    if not has_sides and (ends < starts).any(0).all() and fit(np.hstack([starts, starts + ends])):
        return "width and height probably stand in the place of xmax and ymax"
    if has_sides and fit(np.hstack([starts, ends - starts])):
        return "bbox probably holds x1, y1, x2, y2 in the place of x, y, width, height"
    if fit(boxes[:, [1, 0, 3, 2]]):
        return "x and y are probably exchanged"
    if fit(np.sort(boxes.reshape(-1, 2, 2), 1).reshape(-1, 4)):
        return "the tool probably wrote the corners in the order in which they were drawn"
    across, down = np.quantile(ends / sizes, 0.99, axis=0).tolist()
    beyond = np.all(boxes >= -SLACK, 1) & np.all(ends > starts, 1) & np.any(ends > sizes, 1)
    if _nearly_all(beyond[wrong]):
        return (
            f"they probably belong to images of another size, since they reach to {across:.2g} "
            f"times the width and {down:.2g} times the height"
        )
    return ""


def _inside(boxes: Boxes, sizes: Boxes) -> BoolArray:
    """A mask [N] of the boxes that have an area and lie in their images."""
    inside = (boxes >= -SLACK) & (boxes <= np.tile(sizes, 2) + SLACK)
    return np.asarray(inside.all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1))


def _nearly_all(holds: BoolArray) -> bool:
    return bool(holds.mean() >= FITS)
