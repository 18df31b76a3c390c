"""The embedded data set: pictures of five shapes, drawn on first use as a Pascal VOC folder.

Only the shape determines the class: colours, sizes, rotations and backgrounds are random. Later
objects are drawn over earlier ones. The box of an object encloses its whole outline, as far as it
lies in the picture. An object that is less than 40 % visible is marked `difficult`; one that is
not visible at all has no annotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.common.progress import Progress
from ssd.structures import BoolArray

NUM_TRAINVAL = 400
NUM_TEST = 100
SEED = 2016

CLASSES = ("circle", "cross", "square", "star", "triangle")
DIFFICULT_BELOW = 0.4
MAX_TURN = np.pi / 9
MARGIN = 50  # pixels by which a shape may extend beyond its picture

Picture = npt.NDArray[np.float32]
Outline = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """One drawn object.

    Attributes:
        name: the class.
        area: number of pixels, including those that are hidden or outside the picture.
        mask: uint8 [H, W], 255 where the object is, hidden or not; lower on its edge.
    """

    name: str
    area: int
    mask: npt.NDArray[np.uint8]

    @property
    def solid(self) -> BoolArray:
        """A mask [H, W] of the pixels that belong to the object."""
        return self.mask > 127


def ensure_shapes(root: Path, num_trainval: int, num_test: int) -> None:
    """Draws the data set into `root`, unless it is already there.

    It is drawn beside `root` and then renamed, so that `root` never holds half a set.

    Raises:
        UserError: something else is at `root`, or the set cannot be written.
    """
    count = num_trainval + num_test
    if _is_complete(root, count):
        return
    if root.exists():
        advice = "for data of your own, take custom_voc or custom_coco, else another data.root"
        raise UserError(f"data.root {root} exists, but is not a complete shapes data set: {advice}")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
            drawn = Path(folder) / root.name
            draw_shapes(drawn, num_trainval, num_test, SEED)
            _move(drawn, root, count)
    except OSError as error:
        advice = "set data.root to a folder that can be written, and data.format to shapes"
        raise UserError(f"data.root {root} cannot be drawn ({error.strerror}): {advice}") from error


def _is_complete(root: Path, count: int) -> bool:
    stems = [_stem(index) for index in range(count)]
    files = [root / "Annotations" / f"{stem}.xml" for stem in stems]
    files += [root / "JPEGImages" / f"{stem}.jpg" for stem in stems]
    files += [root / "ImageSets" / "Main" / f"{name}.txt" for name in ("trainval", "test")]
    return all(file.is_file() for file in files)


def _move(drawn: Path, root: Path, count: int) -> None:
    try:
        drawn.rename(root)
    except OSError:
        if not _is_complete(root, count):  # otherwise another process was faster
            raise


def _stem(index: int) -> str:
    return f"shapes_{index:05}"


def draw_shapes(root: Path, num_trainval: int, num_test: int, seed: int) -> None:
    """Writes the lists `trainval` and `test`, their annotations and pictures.

    Equal arguments give equal bytes with the same versions of numpy and OpenCV.
    """
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    stems = [_stem(index) for index in range(num_trainval + num_test)]
    with Progress("drawing the shapes data set", len(stems), "picture") as progress:
        for index, stem in enumerate(stems):
            picture, shapes = draw_picture(np.random.default_rng([seed, index]))
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
            (root / "JPEGImages" / f"{stem}.jpg").write_bytes(jpeg.tobytes())
            xml = _annotation(f"{stem}.jpg", picture.shape[:2], shapes)
            (root / "Annotations" / f"{stem}.xml").write_text(xml, encoding="utf-8")
            progress.advance()
    for name, part in (("trainval", stems[:num_trainval]), ("test", stems[num_trainval:])):
        lines = "".join(f"{stem}\n" for stem in part)
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(lines, encoding="utf-8")


def draw_picture(rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], list[Shape]]:
    """Draws one picture [H, W, 3], BGR; returns it with its objects in drawing order."""
    height, width = (int(side) for side in rng.integers(240, 481, 2))
    picture = _background(rng, height, width)
    shapes: list[Shape] = []
    for _ in range(rng.integers(1, 9)):
        shape = _place(rng, shapes, height, width)
        if shape is not None:
            _paint(rng, picture, shape.mask)
            shapes.append(shape)
    grain = rng.standard_normal(picture.shape, np.float32)
    picture += grain * np.float32(rng.uniform(1, 6))
    return picture.clip(0, 255).astype(np.uint8), shapes


def _ramp(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Values [H, W] that rise evenly in a random direction, within -1 … 1."""
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    ramp = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    return np.asarray(ramp / np.abs(ramp).max())


def _background(rng: np.random.Generator, height: int, width: int) -> Picture:
    """A colour gradient [H, W, 3] with stripes or soft blotches."""
    middle = rng.uniform(60, 195) + rng.uniform(-45, 45, 3)
    slope = rng.uniform(-45, 45, 3)
    picture = middle + slope * _ramp(rng, height, width)[..., None]
    if rng.random() < 0.5:
        waves = np.sin(_ramp(rng, height, width) * rng.uniform(10, 60))
        picture += rng.uniform(-25, 25, 3) * waves[..., None]
    else:
        cells = rng.normal(0, rng.uniform(5, 20), (*rng.integers(4, 24, 2), 3))
        picture += cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    return picture.astype(np.float32)


def _outline(rng: np.random.Generator, name: str) -> Outline:
    """The corners [N, 2] of a shape around the origin, slightly stretched and rotated."""
    match name:
        case "cross":
            arm = np.array([[0.33, 0.33], [0.33, 1], [-0.33, 1]])
            turn = np.array([[0, 1], [-1, 0]])
            corners = np.concatenate([arm @ np.linalg.matrix_power(turn, n) for n in range(4)])
        case "star":
            corners = _polygon(10) * np.tile([1.0, 0.42], 5)[:, None]
        case "square":
            corners = _polygon(4, first=0.5)
        case _:
            corners = _polygon({"triangle": 3, "circle": 72}[name])
    angle = rng.uniform(-MAX_TURN, MAX_TURN)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    return np.asarray(corners * (1, rng.uniform(0.75, 1)) @ rotation)


def _polygon(num_corners: int, first: float = 0.0) -> Outline:
    """Corners [N, 2] on the unit circle, the first at the top, or `first` corners further on."""
    angles = (np.arange(num_corners) + first) * (2 * np.pi / num_corners) - np.pi / 2
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def _random_shape(rng: np.random.Generator, name: str, height: int, width: int) -> Shape:
    """A shape at a random place; up to a fifth of its width and height may lie outside the picture.

    Its longer side is 28 … 200 pixels; small sizes are more frequent.
    """
    corners = _outline(rng, name)
    longest = min(200, 0.7 * min(height, width))
    size = np.exp(rng.uniform(np.log(28), np.log(longest)))
    corners *= size / np.ptp(corners, 0).max()
    corners -= (corners.min(0) + corners.max(0)) / 2
    inner = 0.3 * np.ptp(corners, 0)
    corners += rng.uniform(inner, (width, height) - inner)
    canvas = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN), np.uint8)
    fixed_point = np.round((corners + MARGIN - 0.5) * 16).astype(np.int32)  # 4 fractional bits
    cv2.fillPoly(canvas, [fixed_point], 255, cv2.LINE_AA, shift=4)
    mask = canvas[MARGIN : MARGIN + height, MARGIN : MARGIN + width].copy()
    return Shape(name, int((canvas > 127).sum()), mask)


def _place(rng: np.random.Generator, shapes: list[Shape], height: int, width: int) -> Shape | None:
    """A new shape that usually leaves the earlier ones visible, or None if there is no room."""
    name = str(rng.choice(CLASSES))
    may_hide = 0.1 if rng.random() < 0.6 else 1.0
    for _ in range(10):
        shape = _random_shape(rng, name, height, width)
        hidden = [(earlier.solid & shape.solid).sum() / earlier.area for earlier in shapes]
        if max(hidden, default=0) <= may_hide:
            return shape
    return None


def _paint(rng: np.random.Generator, picture: Picture, mask: npt.NDArray[np.uint8]) -> None:
    """Fills a mask with a slightly shaded colour that is unlike the one below."""
    left, top, width, height = cv2.boundingRect(mask)
    window = slice(top, top + height), slice(left, left + width)
    alpha = (mask[window].astype(np.float32) / 255)[..., None]
    below = (picture[window] * alpha).sum((0, 1)) / alpha.sum()
    colours = rng.uniform(0, 255, (6, 3)).astype(np.float32)
    colour = colours[np.linalg.norm(colours - below, axis=1).argmax()]
    shade = _ramp(rng, height, width) * np.float32(rng.uniform(0, 40))
    picture[window] += alpha * (colour + shade[..., None] - picture[window])


def _annotation(file: str, size: tuple[int, ...], shapes: list[Shape]) -> str:
    """The VOC annotation of a picture, without the objects that are not visible at all."""
    lines = [
        "<annotation>",
        f"  <filename>{file}</filename>",
        f"  <size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>",
    ]
    for number, shape in enumerate(shapes):
        hidden = np.zeros(size, np.bool_)
        for later in shapes[number + 1 :]:
            hidden |= later.solid
        seen = (shape.solid & ~hidden).sum() / shape.area
        if seen > 0:
            lines += _object_lines(shape, seen < DIFFICULT_BELOW)
    return "\n".join([*lines, "</annotation>\n"])


def _object_lines(shape: Shape, difficult: bool) -> list[str]:
    x, y, width, height = cv2.boundingRect(shape.solid.astype(np.uint8))
    box = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}
    fields = "".join(f"<{field}>{value}</{field}>" for field, value in box.items())
    return [
        "  <object>",
        f"    <name>{shape.name}</name>",
        f"    <difficult>{int(difficult)}</difficult>",
        f"    <bndbox>{fields}</bndbox>",
        "  </object>",
    ]
