"""Reads one VOC annotation file, and checks every field.

What can be read without doubt is read, and counted as a repair.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import LONGEST_NAME, MOST_OBJECTS, check_pixels, read_regular, short
from ssd.data.voc_xml import parse_xml

LARGEST_ANNOTATION = 1 << 22  # bytes

WRONG_ENCODING = "wrong encoding declared"
SIZE_MISSING = "size missing"
DIFFICULT_IN_WORDS = "difficult is no number"
SEVERAL_BOXES = "several bndbox in one object"
POLYGON = "polygon instead of a box"
ROTATED = "rotated box"
SWAPPED = "corners swapped"

YES = {"true", "yes", "t", "y", "difficult"}
NO = {"", "false", "no", "f", "n", "none", "unspecified"}
Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Object:
    """One box of an `object` element, as it is written: 1-based, inclusive, perhaps swapped."""

    name: str
    corners: Corners
    difficult: bool


@dataclass(frozen=True)
class Annotation:
    """One annotation file.

    `width` and `height` are 0 if the file does not say; `image_names` are the names that it gives
    to its image, best first; `repairs` counts what was mended by the kind of the fault; `broken`
    tells what is wrong with each object that cannot be read.
    """

    path: Path
    width: int
    height: int
    objects: Sequence[Object]
    image_names: Sequence[str]
    repairs: Counter[str]
    broken: Sequence[str] = ()


def read_annotation(path: Path) -> Annotation:
    """Reads and checks the annotation file `path`.

    Raises:
        UserError: the file cannot be read, is no annotation of VOC, or exceeds a limit.
    """
    try:
        tree, wrongly_declared = parse_xml(read_regular(path, LARGEST_ANNOTATION))
    except OSError as error:
        raise UserError(
            f"{path}: the annotation cannot be read ({error.strerror}): make it readable, or take "
            "the image out of the list"
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        reason = one_line(error)[:LONGEST_NAME]
        raise UserError(f"{path}: is not well-formed XML ({reason}): fix the annotation") from error
    elements = tree.findall("object")
    _refuse_other_formats(tree, elements, path)
    objects: list[Object] = []
    broken: list[str] = []
    repairs: Counter[str] = Counter()
    for number, element in enumerate(elements[: MOST_OBJECTS + 1], start=1):
        try:
            objects += _read_object(element, f"{path}, object {number}", repairs)
        except UserError as error:
            broken.append(str(error))
    if max(len(elements), len(objects)) > MOST_OBJECTS:
        raise UserError(
            f"{path}: has {max(len(elements), len(objects))} objects, but at most {MOST_OBJECTS} "
            "are allowed: take the image out of the list, or cut it into parts"
        )
    width, height = _size(tree, path)
    repairs += Counter({SIZE_MISSING: int(not width), WRONG_ENCODING: int(wrongly_declared)})
    return Annotation(path, width, height, objects, _image_names(tree), repairs, broken)


def _refuse_other_formats(tree: Element, elements: Sequence[Element], path: Path) -> None:
    """Refuses XML of another kind, which would look like an image without objects."""
    if elements:
        return
    if next(tree.iter("bndbox"), None) is not None:
        what = "its boxes are not in elements named 'object'"
    elif tree.findtext("size/width") is None and tree.findtext("filename") is None:
        what = f"{short(tree.tag)} has no object, no size and no filename"
    else:
        return
    raise UserError(f"{path}: is no annotation of VOC: {what}: export the data as Pascal VOC")


def _image_names(tree: Element) -> list[str]:
    tags = "folder", "filename", "path"
    folder, name, path = ((tree.findtext(tag) or "").strip() for tag in tags)
    return [text for text in (f"{folder}/{name}" if folder and name else "", name, path) if text]


def _size(tree: Element, path: Path) -> tuple[int, int]:
    """Width and height in pixels, or zeros where they are not given."""
    values = [_number_or_nan(tree.findtext(f"size/{side}") or "") for side in ("width", "height")]
    if not all(value > 0 for value in values):
        return 0, 0
    for side, value in zip(("width", "height"), values, strict=True):
        if value % 1 != 0:
            rule = "not a whole number of pixels: fix the annotation, or remove its size"
            raise UserError(f"{path}, size: {side} is {value:g}, {rule}")
    width, height = map(int, values)
    try:
        check_pixels(width, height)
    except ValueError as error:
        raise UserError(f"{path}, size: {error}: fix the annotation, or remove its size") from error
    return width, height


def _read_object(element: Element, where: str, repairs: Counter[str]) -> list[Object]:
    """The boxes of one object; `repairs` is changed only if all of them can be read."""
    name = _text(element, "name", where)
    if len(name) > LONGEST_NAME:
        rule = f"a name of at most {LONGEST_NAME} characters: fix the annotation"
        raise UserError(f"{where}: name is {short(name)}, but has to be {rule}")
    where = f"{where} ({name!r})"
    if _is_set(element.findtext("deleted", "0")):  # LabelMe keeps what was deleted.
        return []
    shapes = next(filter(None, map(element.findall, ("bndbox", "robndbox", "polygon"))), None)
    if shapes is None:
        raise UserError(f"{where}: bndbox is missing: fix the annotation")
    mended = [SEVERAL_BOXES] if len(shapes) > 1 else []
    difficult = _difficult(element.findtext("difficult", "0"), where, mended)
    objects = [Object(name, _corners(shape, where, mended), difficult) for shape in shapes]
    for kind in mended:
        repairs[kind] += 1
    return objects


def _difficult(text: str, where: str, mended: list[str]) -> bool:
    difficult = _is_set(text)
    if difficult is None:
        raise UserError(
            f"{where}: difficult is {short(text)}, which is neither a number nor yes or no: "
            "fix the annotation"
        )
    if math.isnan(_number_or_nan(text)):
        mended.append(DIFFICULT_IN_WORDS)
    return difficult


def _is_set(text: str) -> bool | None:
    """Returns whether a number or a word means yes, or None if that cannot be told."""
    if math.isfinite(value := _number_or_nan(text)):
        return value != 0
    word = text.strip().lower()
    return True if word in YES else False if word in NO else None


def _corners(shape: Element, where: str, mended: list[str]) -> Corners:
    """The box around a shape.

    The points of polygons and rotated boxes are continuous and 0-based, unlike VOC's corners.
    """
    where = f"{where}, {shape.tag}"
    if shape.find("xmin") is None:
        is_rotated = shape.find("cx") is not None
        points = _rotated(shape, where) if is_rotated else _points(shape, where)
        if points:
            mended.append(ROTATED if is_rotated else POLYGON)
            xs, ys = zip(*points, strict=True)
            return min(xs) + 1, min(ys) + 1, max(xs), max(ys)
    xmin, ymin, xmax, ymax = (
        _number(shape, field, where) for field in ("xmin", "ymin", "xmax", "ymax")
    )
    if xmin > xmax or ymin > ymax:
        mended.append(SWAPPED)
    return xmin, ymin, xmax, ymax


def _rotated(shape: Element, where: str) -> list[tuple[float, float]]:
    """The corners of a box with a centre, two sides and an angle in radians."""
    x, y, width, height, angle = (
        _number(shape, field, where) for field in ("cx", "cy", "w", "h", "angle")
    )
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    half_width, half_height = (
        (abs(width) * cos + abs(height) * sin) / 2,
        (abs(width) * sin + abs(height) * cos) / 2,
    )
    return [(x - half_width, y - half_height), (x + half_width, y + half_height)]


def _points(shape: Element, where: str) -> list[tuple[float, float]]:
    """The points of a polygon, whose elements are x and y or x1, y1, x2, … in any depth."""
    sides: dict[str, list[float]] = {"x": [], "y": []}
    for each in shape.iter():
        if re.fullmatch(r"[xy]\d*", each.tag):
            sides[each.tag[0]].append(_as_number(each.text or "", each.tag, where))
    if len(sides["x"]) != len(sides["y"]):
        raise UserError(f"{where}: a point has no x or no y: fix the annotation")
    return list(zip(sides["x"], sides["y"], strict=True))


def _text(element: Element, field: str, where: str) -> str:
    child = element.find(field)
    if child is None:
        raise UserError(f"{where}: {field} is missing: fix the annotation")
    text = (child.text or "").strip()
    if not text:
        raise UserError(f"{where}: {field} is empty: fix the annotation")
    return text


def _number(element: Element, field: str, where: str) -> float:
    value = _number_or_nan(element.findtext(field, ""))
    return value if math.isfinite(value) else _as_number(_text(element, field, where), field, where)


def _as_number(text: str, field: str, where: str) -> float:
    value = _number_or_nan(text)
    if not math.isfinite(value):
        raise UserError(f"{where}: {field} is {short(text)}, not a number: fix the annotation")
    return value


def _number_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
