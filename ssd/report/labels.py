"""Finds places for the labels of boxes on an image, beside the boxes and beside each other.

Letters: `N` boxes, `L` labels placed so far, `P` possible places of a label. Boxes and places are
xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Size = tuple[int, int]

DISTANCES = (0.0, 0.6, 1.5, 3.0)  # from the box, in heights of the label
FAR = 0.015  # what a step to the next distance costs, as a covered share of a box
ON_LABEL = 4.0  # a covered label is worse than a covered box
ON_OWN = 2.0  # and so is the box that the label names
MOST = 0.3  # the cost from which a label is left out


@dataclass(frozen=True)
class Place:
    """The place of a label: its upper left corner, and the line that leads to its box.

    Attributes:
        left, top: pixels.
        leader: (x, y) of the ends of the line; None where the label touches its box.
    """

    left: int
    top: int
    leader: tuple[tuple[int, int], tuple[int, int]] | None


def place_labels(canvas: Size, boxes_N4: Floats, sizes: Sequence[Size]) -> list[Place | None]:
    """Places a label for each of the first boxes; those named first have the choice.

    A label is beside its box, at the nearest place where it covers no other label and little of any
    box. What counts is the share of a box that is covered, so that a label may lie on a box that
    is much larger, but not on a small object. Every label stays inside the image if it fits. In a
    crowd, a label that would cover other labels or small boxes is left out: its place is None.

    Args:
        canvas: width and height of the image.
        boxes_N4: all boxes; those after the labelled ones have no label, and are spared too.
        sizes: width and height of each label; at most N.
    """
    areas_N = np.maximum((boxes_N4[:, 2:] - boxes_N4[:, :2]).clip(min=0).prod(1), 1.0)
    weights_N = 1 / areas_N
    taken_L4 = np.zeros((0, 4))
    places: list[Place | None] = []
    for index, (width, height) in enumerate(sizes):
        places_P4, costs_P = _possible(canvas, boxes_N4[index], width, height)
        own_N = np.where(np.arange(len(boxes_N4)) == index, ON_OWN, 1.0)
        costs_P += common_areas(places_P4, boxes_N4) @ (weights_N * own_N)
        costs_P += common_areas(places_P4, taken_L4).sum(1) * (ON_LABEL / (width * height))
        if costs_P.min() > MOST:
            places.append(None)
            continue
        best_4 = places_P4[int(costs_P.argmin())]
        taken_L4 = np.concatenate([taken_L4, best_4[None]])
        places.append(_place(best_4, boxes_N4[index]))
    return places


def common_areas(boxes_P4: Floats, others_N4: Floats) -> Floats:
    """The areas [P, N] that boxes [P, 4] and others [N, 4] have in common."""
    low_PN2 = np.maximum(boxes_P4[:, None, :2], others_N4[:, :2])
    high_PN2 = np.minimum(boxes_P4[:, None, 2:], others_N4[:, 2:])
    return np.asarray((high_PN2 - low_PN2).clip(min=0).prod(-1))


def _possible(canvas: Size, box_4: Floats, width: int, height: int) -> tuple[Floats, Floats]:
    """Places [P, 4] around a box, the best first, and the cost [P] of their distance."""
    x1, y1, x2, y2 = box_4.tolist()
    places, costs = [], []
    for ring, distance in enumerate(DISTANCES):
        gap = distance * height
        lefts = (x1, x2 - width, (x1 + x2 - width) / 2, x1 - gap, x2 - width + gap)
        tops = (y1, y2 - height, (y1 + y2 - height) / 2)
        around = [(left, y1 - gap - height) for left in lefts]
        around += [(left, y2 + gap) for left in lefts]
        around += [(left, top) for left in (x2 + gap, x1 - gap - width) for top in tops]
        places += around
        costs += [FAR * ring + 1e-4 * place for place in range(len(around))]
    corners_P2 = np.rint(np.array(places))
    room_2 = np.maximum(np.array(canvas) - (width, height), 0)
    corners_P2 = np.clip(corners_P2, 0, room_2)
    return np.concatenate([corners_P2, corners_P2 + (width, height)], 1), np.array(costs)


def _place(label_4: Floats, box_4: Floats) -> Place:
    """The place with its line, from the nearest points of the label and of the box."""
    low_2, high_2 = np.maximum(label_4[:2], box_4[:2]), np.minimum(label_4[2:], box_4[2:])
    middle_2 = (low_2 + high_2) / 2
    start = np.where(low_2 <= high_2, middle_2, np.clip(box_4[:2], label_4[:2], label_4[2:]))
    end = np.where(low_2 <= high_2, middle_2, np.clip(start, box_4[:2], box_4[2:]))
    left, top = label_4[:2].astype(int).tolist()
    if (low_2 - high_2 <= 1).all():
        return Place(left, top, None)
    first, last = (tuple(np.rint(point).astype(int).tolist()) for point in (start, end))
    return Place(left, top, (first, last))
