"""The kind of every detection, right or one of the mistakes, and the objects that none finds.

The kinds follow TIDE (Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection
Errors"), whose thresholds are the defaults. The first one that fits is taken:

| kind | what the detection overlaps |
|---|---|
| right | an object of its class, by at least `right_iou`, as the first detection that does |
| duplicate | the same, but a more confident detection has found the object |
| uncounted | the same, but the object is marked difficult; or it lies to that share in a crowd |
| wrong class | an object of another class, by at least `right_iou` |
| poor box | an object of its class, by at least `POOR_IOU` |
| background | none of these; TIDE's "both", a poor box of the wrong class, is here too |

A detection belongs to the object of its class that it overlaps most, as in VOC's metric. COCO's
evaluation gives it the next object instead where a better detection has that one; this counts as
a duplicate here. The kinds do not depend on a score threshold, since a detection never depends on
a less confident one.

Letters: `D` detections, `N` objects of all images; within an image `K` detections, `G` objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ssd.evaluation.detections import DetectionTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ssd.structures import Record

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RIGHT_IOU, POOR_IOU = 0.5, 0.1
RIGHT, DUPLICATE, WRONG_CLASS, POOR_BOX, BACKGROUND, UNCOUNTED = range(6)
KIND_NAMES = ("right", "duplicate", "wrong class", "poor box", "background", "uncounted")


@dataclass(frozen=True)
class Objects:
    """The N annotated objects of all images, in their order.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | image_index | [N] | int64 | position of the image in the list of images |
    | labels | [N] | int64 | 1 … C−1 |
    | boxes | [N, 4] | float64 | xyxy, pixels, 0-based |
    | counted | [N] | bool | neither difficult nor a crowd |
    | crowd | [N] | bool | a group of objects in one box |
    | image_areas | [N] | float64 | pixels of the object's image |
    """

    image_index: Ints
    labels: Ints
    boxes: Floats
    counted: Bools
    crowd: Bools
    image_areas: Floats

    @property
    def areas(self) -> Floats:
        """The areas [N] of the boxes in pixels."""
        return areas_of(self.boxes)


@dataclass(frozen=True)
class JudgedDetections:
    """Detections with their kinds.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | table | D rows | DetectionTable | |
    | objects | N rows | Objects | |
    | kinds | [D] | int64 | position in `KIND_NAMES` |
    | object_of | [D] | int64 | row in `objects` of the object that makes the kind; −1 without |
    | overlaps | [D] | float64 | IoU with that object (of a crowd: the share inside); 0 without |
    """

    table: DetectionTable
    objects: Objects
    kinds: Ints
    object_of: Ints
    overlaps: Floats

    def found(self, score: float) -> Bools:
        """A mask [N] of the objects that a detection of at least this score finds."""
        found_N = np.zeros(len(self.objects.labels), np.bool_)
        found_N[self.object_of[(self.kinds == RIGHT) & (self.table.scores >= score)]] = True
        return found_N

    def missed(self, score: float) -> Bools:
        """A mask [N] of the objects that count and that no such detection finds."""
        return self.objects.counted & ~self.found(score)


def judge_detections(
    records: Iterable[Record], table: DetectionTable, right_iou: float = RIGHT_IOU
) -> JudgedDetections:
    """The kind of every detection.

    Args:
        records: the images; `table.image_index` is a position among them.
        table: in any order; among equal scores the earlier one is the more confident.
        right_iou: the overlap from which a box is right, in (0, 1].
    """
    objects, ends = _collect(records)
    kinds_D = np.full(len(table), BACKGROUND)
    object_of_D, overlaps_D = np.full(len(table), -1), np.zeros(len(table))
    # The detections of an image one after another, the most confident first.
    order_D = np.lexsort((-table.scores, table.image_index))
    stops = np.searchsorted(table.image_index[order_D], np.arange(len(ends)), side="right")
    start = first = 0
    for stop, end in zip(stops.tolist(), ends, strict=True):
        if stop > start and end > first:
            rows = order_D[start:stop]
            kinds_K, place_K, overlap_K = _judge_image(
                table.boxes[rows], table.labels[rows], objects, slice(first, end), right_iou
            )
            kinds_D[rows], overlaps_D[rows] = kinds_K, overlap_K
            object_of_D[rows] = np.where(place_K >= 0, first + place_K, -1)
        start, first = stop, end
    return JudgedDetections(table, objects, kinds_D, object_of_D, overlaps_D)


def _judge_image(
    boxes_K4: Floats, labels_K: Ints, objects: Objects, rows: slice, right_iou: float
) -> tuple[Ints, Ints, Floats]:
    """Kinds [K], places [K] of their objects among `rows` and overlaps [K]; best score first."""
    boxes_G4, crowd_G = objects.boxes[rows], objects.crowd[rows]
    counted_G = objects.counted[rows]
    inter_KG = _intersections(boxes_K4, boxes_G4)
    area_K1, area_G = areas_of(boxes_K4)[:, None], areas_of(boxes_G4)
    iou_KG = _ratio(inter_KG, area_K1 + area_G - inter_KG)
    same_KG = labels_K[:, None] == objects.labels[rows]
    own_K, own_iou_K = _most(iou_KG, same_KG & ~crowd_G)
    other_K, other_iou_K = _most(iou_KG, ~same_KG & counted_G)
    in_crowd_K, share_K = _most(_ratio(inter_KG, area_K1), same_KG & crowd_G)

    hits_K = own_iou_K >= right_iou
    first_K = np.zeros(len(hits_K), np.bool_)
    hitting = np.flatnonzero(hits_K)
    first_K[hitting[np.unique(own_K[hitting], return_index=True)[1]]] = True
    difficult_K = hits_K & ~counted_G[own_K]
    conditions = [
        (difficult_K, UNCOUNTED, own_K, own_iou_K),
        (hits_K & first_K, RIGHT, own_K, own_iou_K),
        (hits_K, DUPLICATE, own_K, own_iou_K),
        (share_K >= right_iou, UNCOUNTED, in_crowd_K, share_K),
        (other_iou_K >= right_iou, WRONG_CLASS, other_K, other_iou_K),
        (own_iou_K >= POOR_IOU, POOR_BOX, own_K, own_iou_K),
    ]
    masks = [mask for mask, *_ in conditions]
    return (
        np.select(masks, [np.full(len(hits_K), kind) for _, kind, _, _ in conditions], BACKGROUND),
        np.select(masks, [place for _, _, place, _ in conditions], -1),
        np.select(masks, [overlap for *_, overlap in conditions], 0.0),
    )


def _most(overlaps_KG: Floats, allowed_KG: Bools) -> tuple[Ints, Floats]:
    """For each row the allowed column that it overlaps most, the first of equals, and how much."""
    overlaps_KG = np.where(allowed_KG, overlaps_KG, 0.0)
    best_K = overlaps_KG.argmax(1)
    return best_K, overlaps_KG[np.arange(len(best_K)), best_K]


def _collect(records: Iterable[Record]) -> tuple[Objects, list[int]]:
    """The objects of all images, and for each image the row after its last one."""
    images = list(records)
    sizes = [len(record.labels) for record in images]
    crowd_N = np.concatenate([np.zeros(0, np.bool_), *(record.crowd for record in images)])
    difficult_N = np.concatenate([np.zeros(0, np.bool_), *(each.difficult for each in images)])
    objects = Objects(
        image_index=np.repeat(np.arange(len(images)), sizes),
        labels=np.concatenate([np.zeros(0, np.int64), *(record.labels for record in images)]),
        boxes=np.concatenate([np.zeros((0, 4)), *(record.boxes for record in images)]),
        counted=~(crowd_N | difficult_N),
        crowd=crowd_N,
        image_areas=np.repeat([float(each.width * each.height) for each in images], sizes),
    )
    return objects, np.cumsum(sizes, dtype=np.int64).tolist()


def _intersections(boxes_K4: Floats, others_G4: Floats) -> Floats:
    """The areas [K, G] that boxes [K, 4] and others [G, 4] have in common."""
    low_KG2 = np.maximum(boxes_K4[:, None, :2], others_G4[:, :2])
    high_KG2 = np.minimum(boxes_K4[:, None, 2:], others_G4[:, 2:])
    return np.asarray(np.clip(high_KG2 - low_KG2, 0, None).prod(-1))


def areas_of(boxes: Floats) -> Floats:
    """Areas [...] of boxes [..., 4]; zero where a side is not positive."""
    return np.asarray(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1))


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Part / whole, and 0 where the whole is empty."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))
