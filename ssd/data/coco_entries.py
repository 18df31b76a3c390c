"""The entries of a COCO file as its format has them, and as other tools write them.

An entry of the format's own types is decoded as it is. Others are mended where their meaning is
beyond doubt; a `kind` says what was wrong.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ssd.common.untrusted import (
    LARGEST_COORDINATE,
    as_box,
    as_name,
    as_number,
    as_whole,
    required,
    short,
)
from ssd.data.coco_outlines import around_mask, around_polygons

ID_AS_TEXT = "id as text"
NUMBER_AS_TEXT = "number as text"
NAME_AS_NUMBER = "number as a name"
DECIMAL_POINT = "whole number with a decimal point"
SIZE_MISSING = "size missing"
NULL = "area or iscrowd null"
POLYGON = "polygon instead of a box"
MASK = "mask instead of a box"
NO_BOX = "no box, left out"

Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Side = Annotated[float, Meta(ge=-LARGEST_COORDINATE, le=LARGEST_COORDINATE)]
Box = tuple[Side, Side, Side, Side]
Key = int | str


class CategoryEntry(Struct, gc=False):
    """A category; `supercategory` is "" if it has none."""

    id: Natural | str
    name: str
    supercategory: str = ""


class ImageEntry(Struct, gc=False):
    """An image; its sides are 0 if they are not known."""

    id: Natural | str
    file_name: str
    width: Positive
    height: Positive


class AnnotationEntry(Struct, gc=False):
    """An object; `id` is None if it is missing or of no use."""

    image_id: Natural | str
    category_id: Natural | str
    bbox: Box
    id: Natural | str | None = None
    area: float | UnsetType = UNSET
    iscrowd: Annotated[int, Meta(ge=0, le=1)] = 0


def mend_category(entry: Any, kinds: set[str]) -> CategoryEntry:
    """A category whose name may be a number; raises a ValueError if it makes no sense."""
    category_id, name = required(entry, "id", "name")
    if type(name) in (int, float):
        kinds.add(NAME_AS_NUMBER)
        name = f"{name:.15g}" if type(name) is float else str(name)
    parent = entry.get("supercategory")
    name = as_name("name", name)
    return CategoryEntry(
        _mended_id("id", category_id, kinds), name, parent if isinstance(parent, str) else ""
    )


def mend_image(entry: Any, kinds: set[str]) -> ImageEntry:
    """An image whose size may be missing; raises a ValueError if it makes no sense."""
    image_id, file_name = required(entry, "id", "file_name")
    image_id = _mended_id("id", image_id, kinds)
    if not isinstance(file_name, str):
        raise ValueError(f"file_name is {short(file_name)}, but has to be a string")
    width, height = (_length(side, entry.get(side), kinds) for side in ("width", "height"))
    known = width > 0 and height > 0
    return ImageEntry(image_id, file_name, width if known else 0, height if known else 0)


def mend_annotation(entry: Any, kinds: set[str]) -> AnnotationEntry | None:
    """An object, or None if it has no box at all; raises a ValueError if it makes no sense."""
    image_id, category_id = required(entry, "image_id", "category_id")
    crowd, area, own = entry.get("iscrowd", 0), entry.get("area", UNSET), entry.get("id")
    area = None if area != area else area  # NaN, as pandas writes it
    if crowd is None or area is None:
        kinds.add(NULL)
    crowd = 0 if crowd is None else crowd
    if crowd not in (0, 1, "0", "1"):
        raise ValueError(f"iscrowd is {short(crowd)}, but has to be 0 or 1")
    if isinstance(crowd, str):
        kinds.add(NUMBER_AS_TEXT)
    image_id = _mended_id("image_id", image_id, kinds)
    category_id = _mended_id("category_id", category_id, kinds)
    if (box := _box(entry, kinds)) is None:
        return None
    return AnnotationEntry(
        image_id,
        category_id,
        box,
        own if type(own) is str or (type(own) is int and 0 <= own < 2**63) else None,
        UNSET if area is None or area is UNSET else _number("area", area, kinds),
        int(crowd),
    )


def as_key(field: str, value: Key, kinds: set[str]) -> Key:
    """An id as a number if it is one; raises a ValueError if it is no short text."""
    if isinstance(value, int):
        return value
    kinds.add(ID_AS_TEXT)
    text = as_name(field, value)
    is_number = text.isdecimal() and text.isascii() and (text == "0" or text[0] != "0")
    return int(text) if is_number else text


def image_of(raw: Raw) -> Key | None:
    """The `image_id` of an annotation that makes no sense otherwise; None if it has none."""
    try:
        (image_id,) = required(json.loads(bytes(raw)), "image_id")
        return as_key("image_id", _mended_id("image_id", image_id, set()), set())
    except ValueError:
        return None


def _mended_id(field: str, value: Any, kinds: set[str]) -> Key:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        kinds.add(DECIMAL_POINT)
        value = int(value)
    return as_whole(field, value, 0)


def _number(field: str, value: Any, kinds: set[str]) -> float:
    """A finite number, which may be written as text."""
    if isinstance(value, str):
        try:
            value = float(value)
            kinds.add(NUMBER_AS_TEXT)
        except ValueError:
            pass  # told below
    return as_number(field, value)


def _length(side: str, value: Any, kinds: set[str]) -> int:
    """The side of an image in pixels, or 0 if it is missing."""
    if value is None or value in (0, ""):
        kinds.add(SIZE_MISSING)
        return 0
    number = _number(side, value, kinds)
    if number < 1 or not number.is_integer():
        raise ValueError(f"{side} is {short(value)}, but has to be a whole number from 1")
    if isinstance(value, float):
        kinds.add(DECIMAL_POINT)
    return int(number)


def _box(entry: dict[str, Any], kinds: set[str]) -> Box | None:
    """The box [x, y, width, height] of an annotation, or else that of its outline, or None."""
    box = entry.get("bbox")
    if box is not None and box not in ([], ""):
        if isinstance(box, list):
            box = [_number("bbox", s, kinds) if isinstance(s, str) else s for s in box]
        x, y, width, height = as_box(box)
        return x, y, width, height
    outline = entry.get("segmentation")
    if not outline:
        kinds.add(NO_BOX)
        return None
    is_mask = isinstance(outline, dict)
    x, y, width, height = as_box(around_mask(outline) if is_mask else around_polygons(outline))
    kinds.add(MASK if is_mask else POLYGON)
    return x, y, width, height
