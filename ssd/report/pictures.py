"""Draws predictions and ground truth on images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Color = tuple[int, int, int]
Point = tuple[int, int]

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
BRIGHT = 130  # luma, 0 … 255; on paper brighter than this, letters are dark


@dataclass(frozen=True)
class Box:
    """An object: its class and its corners, xyxy in 0-based pixels; a prediction has a score."""

    name: str
    label: int
    corners: tuple[float, float, float, float]
    score: float | None = None


@dataclass(frozen=True)
class Picture:
    """An image [H, W, 3] (uint8, RGB) with its predictions and its ground truth."""

    name: str
    pixels: Pixels
    predictions: Sequence[Box]
    ground_truth: Sequence[Box] = ()


def draw(picture: Picture) -> Pixels:
    """A copy of the image: predictions in the colour of their class, ground truth dashed white.

    The name of a prediction, with its score, is at the top of its box; the name of a ground-truth
    box is at the bottom. Lines and letters grow with the image.
    """
    import cv2

    canvas = np.ascontiguousarray(picture.pixels).copy()
    predictions = sorted(picture.predictions, key=lambda box: box.score or 0.0)
    for box in predictions:
        width = _line_width(canvas) + 2  # shows on both sides of dashes on top of it
        cv2.rectangle(canvas, *_corners(box, canvas), _color(box), width, cv2.LINE_AA)
    for box in picture.ground_truth:
        _draw_dashed(canvas, _corners(box, canvas))
        (left, _), (_, bottom) = _corners(box, canvas)
        _draw_label(canvas, (left, bottom), box.name, WHITE)
    for box in predictions:
        score = "" if box.score is None else f" {box.score:.2f}"
        _draw_label(canvas, _corners(box, canvas)[0], box.name + score, _color(box))
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


def _line_width(canvas: Pixels) -> int:
    width: int = round(max(canvas.shape[:2]) / 320)
    return max(1, width)


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
    width = _line_width(canvas)
    dash = 4 * width
    cv2.rectangle(canvas, *corners, DARK, width, cv2.LINE_AA)
    for x in range(left, right, 2 * dash):
        for y in (top, bottom):
            cv2.line(canvas, (x, y), (min(x + dash, right), y), WHITE, width)
    for y in range(top, bottom, 2 * dash):
        for x in (left, right):
            cv2.line(canvas, (x, y), (x, min(y + dash, bottom)), WHITE, width)


def _draw_label(canvas: Pixels, corner: Point, text: str, paper: Color) -> None:
    """Writes text on a filled strip that ends at `corner`'s height and stays inside the image."""
    import cv2

    ink = DARK if np.dot(paper, (0.299, 0.587, 0.114)) > BRIGHT else WHITE
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.4, max(canvas.shape[:2]) / 1100)
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    pad = max(2, round(6 * scale))
    left = max(0, min(corner[0], canvas.shape[1] - width - 2 * pad))
    bottom = max(corner[1], height + below + 2 * pad)
    top = bottom - height - below - 2 * pad
    cv2.rectangle(canvas, (left, top), (left + width + 2 * pad, bottom), paper, cv2.FILLED)
    start = (left + pad, bottom - below - pad)
    cv2.putText(canvas, text, start, font, scale, ink, 1, cv2.LINE_AA)
