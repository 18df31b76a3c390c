"""Reads one VOC annotation file, and checks every field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import LONGEST_NAME, MOST_OBJECTS, check_pixels, read_regular, short
from ssd.data.findings import Findings

LARGEST_ANNOTATION = 1 << 22  # bytes


@dataclass(frozen=True)
class Object:
    """One `object` element; its corners are still in VOC's form, 1-based and inclusive."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class Annotation:
    """One annotation file and the image file that belongs to it."""

    path: Path
    image: Path
    width: int
    height: int
    objects: list[Object]


def read_annotation(path: Path, image: Path, findings: Findings) -> Annotation:
    """Reads and checks the annotation file `path`, which belongs to the image file `image`.

    Invalid objects are reported to `findings` and left out.

    Raises:
        UserError: the file cannot be read, is not XML, has no valid size, or exceeds a limit.
    """
    from defusedxml.ElementTree import fromstring

    try:
        tree: Element = fromstring(read_regular(path, LARGEST_ANNOTATION))
    except OSError as error:
        raise UserError(f"{path}: the annotation cannot be read ({error.strerror})") from error
    except (ParseError, ValueError, LookupError) as error:
        reason = one_line(error)[:LONGEST_NAME]
        raise UserError(f"{path}: is not well-formed XML ({reason}): fix the annotation") from error
    objects = []
    elements = tree.findall("object")
    if len(elements) > MOST_OBJECTS:
        raise UserError(
            f"{path}: has {len(elements)} objects, but at most {MOST_OBJECTS} are allowed"
        )
    for number, element in enumerate(elements, start=1):
        try:
            objects.append(_read_object(element, f"{path}, object {number}"))
        except UserError as error:
            findings.broken("broken object", str(error))
    size = _child(tree, "size", f"{path}")
    width, height = (_side(size, field, f"{path}, size") for field in ("width", "height"))
    try:
        check_pixels(width, height)
    except ValueError as error:
        raise UserError(f"{path}, size: {error}") from error
    return Annotation(path, image, width, height, objects)


def _read_object(element: Element, where: str) -> Object:
    name = _text(element, "name", where)
    if len(name) > LONGEST_NAME:
        rule = f"a name of at most {LONGEST_NAME} characters: fix the annotation"
        raise UserError(f"{where}: name is {short(name)}, but has to be {rule}")
    where = f"{where} ({name!r})"
    box = _child(element, "bndbox", where)
    xmin, ymin, xmax, ymax = (
        _number(box, field, f"{where}, bndbox") for field in ("xmin", "ymin", "xmax", "ymax")
    )
    difficult = element.find("difficult") is not None and _number(element, "difficult", where) != 0
    return Object(name, (xmin, ymin, xmax, ymax), difficult)


def _child(element: Element, field: str, where: str) -> Element:
    child = element.find(field)
    if child is None:
        raise UserError(f"{where}: {field} is missing: fix the annotation")
    return child


def _text(element: Element, field: str, where: str) -> str:
    text = (_child(element, field, where).text or "").strip()
    if not text:
        raise UserError(f"{where}: {field} is empty: fix the annotation")
    return text


def _number(element: Element, field: str, where: str) -> float:
    text = _text(element, field, where)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: {field} is {short(text)}, not a number: fix the annotation")
    return value


def _side(size: Element, field: str, where: str) -> int:
    value = _number(size, field, where)
    if value < 1 or value != int(value):
        rule = "not a whole number of pixels from 1: fix the annotation"
        raise UserError(f"{where}: {field} is {value:g}, {rule}")
    return int(value)
