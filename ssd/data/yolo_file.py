"""Reads the files of a YOLO data set: its description, and the labels of an image.

A description is Ultralytics' YAML, Darknet's `obj.data`, or a list of class names (`classes.txt`,
`obj.names`). A row of a label file is `class cx cy w h`, relative to the image, or `class` and the
points of a polygon, of which an oriented box is one. Where the description has `kpt_shape`, key
points follow the box.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import MOST_CLASSES, MOST_OBJECTS, as_name, read_regular, short
from ssd.common.words import counted
from ssd.config.settings import load_yaml
from ssd.data.findings import Findings

LARGEST_DESCRIPTION = 1 << 22  # bytes; also the limit of a label file
FARTHEST = 2.0  # corners that stick out of the image are clipped; pixels are no relative numbers
ROUNDING = 1e-5  # labels have at least five digits
KEYS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
POLYGON = "polygon instead of a box"
CONFIDENCE = "confidence in a sixth column"


@dataclass(frozen=True)
class Description:
    """A data set's description of itself.

    Attributes:
        path: the file that says it, or None if there is none.
        names: the classes by their number from 0; None if any number is a class.
        splits: `train`, `val` and `test`, each with its folders or list files, as written.
        home: the folder that these are relative to, as written.
        keypoints: numbers that follow the box in every row.
        other_count: its `nc` as it is written, if that is not the number of names.
    """

    path: Path | None = None
    names: list[str] | None = None
    splits: dict[str, list[str]] = field(default_factory=dict)
    home: str = ""
    keypoints: int = 0
    other_count: str = ""


def read_text(path: Path, most: int = LARGEST_DESCRIPTION) -> str:
    """The text of a file of at most `most` bytes.

    Raises:
        UserError: it cannot be read.
    """
    try:
        data = read_regular(path, most)
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        return data.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({one_line(error)}): fix it") from error


def read_yaml_description(path: Path) -> Description | None:
    """The description in a YAML file; None if it describes no data set.

    Raises:
        UserError: it does, but in a way that makes no sense.
    """
    try:
        content = load_yaml(read_text(path))
    except ValueError as error:
        raise UserError(f"{path} is not YAML: {one_line(error)[:200]}: fix it") from error
    if not isinstance(content, dict) or not {"names", "nc"} & content.keys():
        return None
    try:
        shape = content.get("kpt_shape") or [0, 0]
        keypoints = math.prod(int(side) for side in shape)
        splits = {KEYS[name]: _texts(name, content[name]) for name in KEYS if content.get(name)}
        home = content.get("path") or ""
        if not isinstance(home, str):
            raise ValueError(f"path is {short(home)}, but has to be a folder")
        names, count = _names(content), content.get("nc")
        other_count = "" if count is None or str(count) == str(len(names)) else short(count)
        return Description(path, names, splits, home, keypoints, other_count)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {one_line(error)[:300]}: fix it") from error


def _texts(name: str, value: Any) -> list[str]:
    """A folder or list file, or several of them."""
    texts: list[str] = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text for text in texts) or len(texts) > 1000:
        raise ValueError(f"{name} is {short(value)}, but has to be a folder or a list of them")
    return texts


def _names(content: dict[Any, Any]) -> list[str]:
    names, count = content.get("names"), content.get("nc")
    if names is None:
        if type(count) is not int or not 0 < count <= MOST_CLASSES:
            raise ValueError(f"nc is {short(count)}, but has to be 1 to {MOST_CLASSES}")
        return [str(number) for number in range(count)]
    if isinstance(names, dict):
        numbers = range(len(names))
        if any(type(one) is not int or one not in numbers for one in names):
            raise ValueError(f"names has the numbers {short(list(names))}, but they count from 0")
        names = [names[number] for number in numbers]
    if not isinstance(names, list):
        raise ValueError(f"names is {short(names)}, but has to be a list")
    return check_names(names)


def check_names(names: list[Any]) -> list[str]:
    """The names of classes, each different from the others.

    Raises:
        ValueError: they are not.
    """
    if not 0 < len(names) <= MOST_CLASSES:
        raise ValueError(f"names has {len(names)} entries, but 1 to {MOST_CLASSES} are allowed")
    checked = [as_name("names", name) for name in names]
    twice = [name for name, count in Counter(checked).items() if count > 1]
    if twice:
        raise ValueError(f"names has {short(twice[0])} twice")
    return checked


def read_names(path: Path) -> list[str]:
    """The classes in a file with one of them a line.

    Raises:
        UserError: it cannot be read, or a line is empty, too long or there twice.
    """
    try:
        return check_names(read_text(path).rstrip().splitlines())
    except ValueError as error:
        raise UserError(f"{path}: {error}: fix it") from None


def read_darknet(path: Path) -> tuple[dict[str, list[str]], str | None]:
    """The splits and the file of class names in Darknet's `obj.data`, as written."""
    pairs = [line.partition("=") for line in read_text(path).splitlines() if "=" in line]
    given = {name.strip(): value.strip() for name, _, value in pairs}
    return {KEYS[name]: [given[name]] for name in KEYS if given.get(name)}, given.get("names")


class Row(NamedTuple):
    """An object: its class, corners relative to the image, and its line in the file, from 1."""

    category: int
    corners: tuple[float, float, float, float]
    line: int


class Labels(NamedTuple):
    """The objects in a label file, and what is wrong with each that cannot be read."""

    rows: Sequence[Row] = ()
    broken: Sequence[str] = ()


def read_labels(
    path: Path, described: Description, findings: Findings, repairs: Counter[str]
) -> Labels:
    """The objects in a label file; what was mended is told and counted.

    Raises:
        UserError: the file cannot be read, or has too many rows.
    """
    lines = read_text(path).splitlines()
    if len(lines) > MOST_OBJECTS:
        raise UserError(f"{path}: has {len(lines)} rows, but at most {MOST_OBJECTS} are allowed")
    rows: list[Row] = []
    broken: list[str] = []
    mended: Counter[str] = Counter()
    for number, line in enumerate(lines, start=1):
        if words := line.split():
            try:
                category = _category(words[0], described)
                rows.append(Row(category, _corners(words[1:], described, mended), number))
            except ValueError as problem:
                broken.append(f"{path}, line {number}: {problem}")
    for kind, count in mended.items():
        findings.repaired(kind, f"{path}: {kind}" + (f", {count:,} times" * (count > 1)))
    repairs += mended
    return Labels(rows, broken)


def looks_like_labels(path: Path) -> bool:
    """Returns whether a text file starts with a row of a label file; a link does not."""
    try:
        words = "" if path.is_symlink() else read_text(path).partition("\n")[0]
        numbers = [_finite(word) for word in words.split()]
    except (UserError, ValueError):
        return False
    return path.suffix.lower() == ".txt" and len(numbers) >= 5


def _category(word: str, described: Description) -> int:
    number = _finite(word)
    known = described.names
    most = MOST_CLASSES if known is None else len(known)
    if number != int(number) or not 0 <= number < most:
        told = f"none of 0 to {most - 1}"
        if known:
            these = "not the only class" if most == 1 else f"none of the {most:,} classes"
            told = f"{these} of {described.path}"
        raise ValueError(f"class {short(word)} is {told}: fix the label or the names")
    return int(number)


def _corners(
    words: list[str], described: Description, mended: Counter[str]
) -> tuple[float, float, float, float]:
    """The corners of a row without its class."""
    numbers = [_finite(word) for word in words]
    is_box = len(numbers) in (4, 5) or (described.keypoints and len(numbers) >= 4)
    if not is_box and (len(numbers) < 6 or len(numbers) % 2):
        rule = "a box (class cx cy w h) or a polygon (class and at least three points)"
        found = counted(len(words) + 1, "column")
        raise ValueError(f"the row has {found}, but has to be {rule}: fix it")
    if is_box:
        if len(numbers) == 5:
            mended[CONFIDENCE] += 1
        x, y, width, height = numbers[:4]
        corners = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    else:
        mended[POLYGON] += 1
        corners = min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])
    left, top, right, bottom = map(_unrounded, corners)
    if max(map(abs, corners)) > FARTHEST:
        far = max(corners, key=abs)
        rule = "labels are relative to the image, 0 to 1: divide pixels by its size"
        raise ValueError(f"the box reaches {far:g} times the image's side: {rule}")
    return left, top, right, bottom


def _unrounded(side: float) -> float:
    """The border of the image for a corner that sticks out of it by the rounding of a label."""
    border = min(max(side, 0.0), 1.0)
    return border if abs(side - border) <= ROUNDING else side


def _finite(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{short(word)} is not a finite number: fix the label")
    return number
