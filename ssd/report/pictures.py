"""Draws predictions and ground truth on images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ssd.report.labels import common_areas, place_labels

Pixels = npt.NDArray[np.uint8]
Color = tuple[int, int, int]
Point = tuple[int, int]
Corners = tuple[float, float, float, float]

# Okabe and Ito (2008), which colour-blind readers can tell apart; without black and yellow, which
# vanish on dark and on bright images.
COLORS: tuple[Color, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)
WHITE: Color = (255, 255, 255)
DARK: Color = (32, 36, 44)
LONGEST_JPEG = 65_500  # pixels, by libjpeg
FONT = 0  # cv2.FONT_HERSHEY_SIMPLEX; cv2 is imported where it is needed
CONTEXT, LEAST_PART = 2.2, 0.25  # of a part that is cut out of an image
NAMED_IOU = 0.5  # from which a prediction names a ground-truth box of its class
SHOWN_SCORE = 0.4  # lowest score of an object to show
BRIGHT = 130  # luma, 0 … 255; on paper brighter than this, letters are dark


@dataclass(frozen=True)
class Box:
    """An object: its class and its corners, xyxy in 0-based pixels; a prediction has a score."""

    name: str
    label: int
    corners: Corners
    score: float | None = None


@dataclass(frozen=True)
class Picture:
    """An image [H, W, 3] (uint8, RGB) with its predictions and its ground truth."""

    name: str
    pixels: Pixels
    predictions: Sequence[Box]
    ground_truth: Sequence[Box] = ()


def boxes(
    classes: Sequence[str],
    labels: Sequence[int],
    corners_D4: npt.NDArray[np.floating[Any]],
    scores: Sequence[float | None],
) -> list[Box]:
    """Converts rows of boxes to the form that the report draws."""
    return [
        Box(classes[label - 1], label, tuple(corners), score)
        for label, corners, score in zip(labels, corners_D4.tolist(), scores, strict=True)
    ]


def draw(picture: Picture, letters: float = 1.0) -> Pixels:
    """A copy of the image: predictions in the colour of their class, ground truth dashed white.

    The name of a prediction, with its score, is beside its box, and so is that of a ground-truth
    box, unless a prediction of that class names the object. `ssd.report.labels` finds the places.
    Boxes without a name stay without one. Lines and letters grow with the image; lines are thinner
    around small objects, and `letters` is a factor on the size of the letters.
    """
    import cv2

    canvas = np.ascontiguousarray(picture.pixels).copy()
    predictions = sorted(picture.predictions, key=lambda box: box.score or 0.0)
    for box in predictions:
        corners = _corners(box, canvas)
        width = _line_width(canvas, corners, 2)  # shows on both sides of dashes on top of it
        cv2.rectangle(canvas, *corners, _color(box), width, cv2.LINE_AA)
    for box in picture.ground_truth:
        _draw_dashed(canvas, _corners(box, canvas))
    unnamed = [box for box in picture.ground_truth if not _is_named(box, predictions)]
    named = [box for box in [*predictions[::-1], *unnamed] if box.name]
    _draw_labels(canvas, named, [*predictions, *picture.ground_truth], letters)
    return canvas


def fit(picture: Picture, side: int) -> Picture:
    """The same picture, scaled so that its longer side has `side` pixels."""
    import cv2

    height, width = picture.pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels = np.asarray(cv2.resize(picture.pixels, size, interpolation=method), np.uint8)
    return replace(
        picture,
        pixels=pixels,
        predictions=[_scaled(box, scale) for box in picture.predictions],
        ground_truth=[_scaled(box, scale) for box in picture.ground_truth],
    )


def cut_out(picture: Picture, corners: Corners) -> Picture:
    """The part of the picture around a box: `CONTEXT` times as long, four by three, all inside.

    It has at least `LEAST_PART` of the image's longer side. Boxes outside of it are left out.
    """
    height, width = picture.pixels.shape[:2]
    x1, y1, x2, y2 = corners
    least = LEAST_PART * max(height, width)
    long = max(CONTEXT * (x2 - x1), CONTEXT * (y2 - y1) * 4 / 3, least)
    sides = min(width, round(long)), min(height, round(long * 3 / 4))
    left, top = (
        round(min(max(0, (low + high - side) / 2), whole - side))
        for low, high, side, whole in zip((x1, y1), (x2, y2), sides, (width, height), strict=True)
    )

    def moved(boxes: Sequence[Box]) -> list[Box]:
        shifted = [
            replace(box, corners=(a - left, b - top, c - left, d - top))
            for box in boxes
            for a, b, c, d in [box.corners]
        ]
        return [
            box
            for box in shifted
            if min(box.corners[2:]) > 0 and box.corners[0] < sides[0] and box.corners[1] < sides[1]
        ]

    return replace(
        picture,
        pixels=picture.pixels[top : top + sides[1], left : left + sides[0]],
        predictions=moved(picture.predictions),
        ground_truth=moved(picture.ground_truth),
    )


def encode_jpeg(pixels: Pixels) -> bytes:
    """The image [H, W, 3] (RGB) as a JPEG file, smaller if it is longer than one can be."""
    import cv2

    if (longest := max(pixels.shape)) > LONGEST_JPEG:
        scale = LONGEST_JPEG / longest
        size = [max(1, int(side * scale)) for side in pixels.shape[1::-1]]
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return encoded.tobytes()


def _scaled(box: Box, scale: float) -> Box:
    x1, y1, x2, y2 = box.corners
    return replace(box, corners=(x1 * scale, y1 * scale, x2 * scale, y2 * scale))


def _color(box: Box) -> Color:
    return COLORS[box.label % len(COLORS)]


def _line_width(canvas: Pixels, corners: tuple[Point, Point], more: int = 0) -> int:
    """The width of a box's lines: `more` than one for ground truth, less around small boxes."""
    (left, top), (right, bottom) = corners
    width = max(1, round(max(canvas.shape[:2]) / 320)) + more
    return int(min(width, max(1, min(right - left, bottom - top) // 8)))


def _corners(box: Box, canvas: Pixels) -> tuple[Point, Point]:
    """The first and the last pixel of the box, clipped to the image."""
    height, width = canvas.shape[:2]
    x1, y1, x2, y2 = box.corners
    xs = np.clip(np.rint([x1, x2 - 1]), 0, width - 1).astype(int).tolist()
    ys = np.clip(np.rint([y1, y2 - 1]), 0, height - 1).astype(int).tolist()
    return (xs[0], ys[0]), (xs[1], ys[1])


def _draw_dashed(canvas: Pixels, corners: tuple[Point, Point]) -> None:
    """Draws a rectangle of white dashes on a dark line, which shows on any background."""
    import cv2

    (left, top), (right, bottom) = corners
    width = _line_width(canvas, corners)
    dash = 4 * width
    cv2.rectangle(canvas, *corners, DARK, width, cv2.LINE_AA)
    for x in range(left, right, 2 * dash):
        for y in (top, bottom):
            cv2.line(canvas, (x, y), (min(x + dash, right), y), WHITE, width)
    for y in range(top, bottom, 2 * dash):
        for x in (left, right):
            cv2.line(canvas, (x, y), (x, min(y + dash, bottom)), WHITE, width)


def _is_named(truth: Box, predictions: Sequence[Box]) -> bool:
    """True if a prediction of the object's class overlaps it by at least `NAMED_IOU`."""
    alike = [box.corners for box in predictions if box.label == truth.label]
    boxes_N4 = np.array([truth.corners, *alike])
    common_N = common_areas(boxes_N4[:1], boxes_N4[1:])[0]
    sides_N2 = (boxes_N4[:, 2:] - boxes_N4[:, :2]).clip(min=0)
    area, *areas = sides_N2.prod(1).tolist()
    return any(
        common >= NAMED_IOU * (area + other - common) > 0
        for common, other in zip(common_N.tolist(), areas, strict=True)
    )


def _draw_labels(
    canvas: Pixels, named: Sequence[Box], others: Sequence[Box], letters: float
) -> None:
    """Writes the names of boxes beside them, where they cover little of these and of others."""
    import cv2

    texts = [box.name + ("" if box.score is None else f" {box.score:.2f}") for box in named]
    papers = [WHITE if box.score is None else _color(box) for box in named]
    scale = letters * max(0.4, max(canvas.shape[:2]) / 1100)
    pad = max(2, round(6 * scale))
    extents = [cv2.getTextSize(text, FONT, scale, 1) for text in texts]
    sizes = [(width + 2 * pad, height + low + pad) for (width, height), low in extents]
    corners = [_corners(box, canvas) for box in [*named, *others]]
    boxes_N4 = np.array([(*first, last[0] + 1, last[1] + 1) for first, last in corners], float)
    places = place_labels(canvas.shape[1::-1], boxes_N4.reshape(-1, 4), sizes)
    for place, paper in zip(places, papers, strict=True):
        if place and place.leader:
            cv2.line(canvas, *place.leader, paper, 1, cv2.LINE_AA)
    rows = zip(texts, papers, sizes, extents, places, strict=True)
    for text, paper, (width, height), (_, low), place in rows:
        if place:
            ink = DARK if np.dot(paper, (0.299, 0.587, 0.114)) > BRIGHT else WHITE
            last = place.left + width - 1, place.top + height - 1
            cv2.rectangle(canvas, (place.left, place.top), last, paper, cv2.FILLED)
            start = (place.left + pad, last[1] + 1 - low - pad // 2)
            cv2.putText(canvas, text, start, FONT, scale, ink, 1, cv2.LINE_AA)
