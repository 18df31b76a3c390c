"""Annotations held against the headers of their images: the frame of the boxes.

An image with an Exif orientation has two frames, as it is stored and as viewers turn it. Boxes are
taken in the frame that the annotation's size describes; where both have that shape, or the
annotation has no size, in the frame that `data.exif` names. They end in the frame of the pixels
that the model sees, which `data.exif` names too. An image of another size is left out, because
its boxes belong to another picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from ssd.common.errors import UserError
from ssd.data.annotations import Annotations, Listed
from ssd.data.exif import INVERSE, UPRIGHT, turned_corners, turned_sides, turned_size
from ssd.data.findings import Findings
from ssd.data.image_header import Header
from ssd.data.split import only

ROUNDING = 1e-5  # of relative boxes

Exif = Literal["turn", "stored"]

CONTRADICTING = "contradicting size"
TURNED_WITH_IMAGE = "turned by Exif, boxes turned with the image"
IN_TURNED_FRAME = "turned by Exif, boxes in the turned frame"
TURNED_BACK = "boxes turned back to the stored image"


class Framed(NamedTuple):
    """An image in the frame of the pixels that the model sees.

    | field | type | meaning |
    |---|---|---|
    | image | Listed | with the size of that frame |
    | width, height | int | pixels of the frame that the boxes come from |
    | turn | int | the orientation that takes the boxes from there to the model's frame |
    | kind | str | what was done, in a few words; empty for nothing |
    """

    image: Listed
    width: int
    height: int
    turn: int
    kind: str


def in_frame(
    found: Annotations,
    headers: Sequence[Header | UserError],
    exif: Exif,
    findings: Findings,
) -> Annotations:
    """The annotations of the readable images, with sizes and boxes in the model's frame.

    Args:
        found: by a reader.
        headers: of the image files of `found.images`.
        exif: the frame of the pixels, `data.exif`.
        findings: receives the images that are left out, and those that are turned.
    """
    framed: list[Framed] = []
    mask = np.zeros(len(found.images), np.bool_)
    repairs = found.repairs.copy()
    for index, (image, header) in enumerate(zip(found.images, headers, strict=True)):
        if isinstance(header, UserError):
            findings.unusable("unreadable image", str(header))
            continue
        try:
            one = _frame(image, header, exif)
        except ValueError as error:
            findings.unusable(CONTRADICTING, f"{image.path}: {error}")
            continue
        if one.kind:
            repairs[one.kind] += 1
            orientation = f"Exif orientation {header.orientation}"
            findings.repaired(one.kind, f"{image.path}: {orientation}: {one.kind}")
        framed.append(one)
        mask[index] = True
    images = [one.image for one in framed]
    return replace(_placed(only(found, mask), framed), images=images, repairs=repairs)


def likely_reason(images: Sequence[Listed], headers: Sequence[Header | UserError]) -> str:
    """The reason why the sizes of several images contradict their annotations; "" if unknown."""
    pairs: list[tuple[int, int, int, int]] = []
    for image, header in zip(images, headers, strict=True):
        if isinstance(header, Header) and 0 not in (image.width, image.height):
            stored = header.width, header.height
            said = image.width, image.height
            if said not in (stored, turned_size(*stored, header.orientation)):
                pairs.append((*said, *stored))
    if len(pairs) < 2:
        return ""
    if all((width, height) == (down, across) for width, height, across, down in pairs):
        return "the annotations probably have width and height exchanged"
    factor = pairs[0][2] / pairs[0][0]
    sides = np.array(pairs, np.float64)
    if (abs(sides[:, 2:] - factor * sides[:, :2]) <= 1).all():
        return f"the images were probably resized by {factor:.3g} after they were annotated"
    return ""


def _frame(image: Listed, header: Header, exif: Exif) -> Framed:
    stored = header.width, header.height
    turned = turned_size(*stored, header.orientation)
    own, other = (turned, stored) if exif == "turn" else (stored, turned)
    orientation = header.orientation if exif == "turn" else UPRIGHT
    said = image.width, image.height
    if said != own or orientation != UPRIGHT:
        image = image._replace(width=own[0], height=own[1], orientation=orientation)
    if 0 in said or said == own:
        return Framed(image, *own, UPRIGHT, "" if orientation == UPRIGHT else IN_TURNED_FRAME)
    if said != other:
        claim = f"its annotation says {said[0]}x{said[1]}"
        raise ValueError(f"image is {stored[0]}x{stored[1]}, {claim}")
    if exif == "turn":
        return Framed(image, *stored, header.orientation, TURNED_WITH_IMAGE)
    return Framed(image, *turned, INVERSE[header.orientation], TURNED_BACK)


def _placed(found: Annotations, framed: list[Framed]) -> Annotations:
    """The objects of the framed images, with relative boxes scaled and all boxes turned."""
    sizes_I2 = np.array([(one.width, one.height) for one in framed]).reshape(-1, 2)
    corners, sides = found.corners, found.sides
    if found.relative:
        # The digits of a file may put a side a little outside.
        inside = corners.clip(0, 1)
        corners = np.where(abs(corners - inside) < ROUNDING, inside, corners)
        corners = corners * np.tile(sizes_I2[found.image_index], 2)
    turns_I = np.array([one.turn for one in framed], np.int64)
    for orientation in np.unique(turns_I[turns_I != UPRIGHT]).tolist():
        rows = np.flatnonzero(turns_I[found.image_index] == orientation)
        sizes = sizes_I2[found.image_index[rows]]
        corners[rows] = turned_corners(corners[rows], sizes, orientation)
        if sides is not None:
            sides[rows] = turned_sides(sides[rows], sizes, orientation)
    return replace(found, corners=corners, sides=sides, relative=False)
