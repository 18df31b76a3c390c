"""What is wrong with a data set, file by file.

The readers tell what they cannot read and what they change. Here is what only shows in the image
files, in the boxes, or in the comparison of the two splits.
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ssd.data.dataset import pixels_of, read_bytes
from ssd.data.findings import Findings
from ssd.errors import UserError
from ssd.structures import BoolArray, DataSet, FloatArray, Record

SAME_OBJECT = 0.95  # overlap of two boxes that are most likely one object, drawn twice
WHOLE_IMAGE = 0.99  # share of an image's width and height
SQUASHED = 4.0  # longer side over shorter
RARE = 5  # objects of a class
NAMED = 5  # images that a summary names
UPRIGHT, ORIENTATION = 1, 0x0112  # EXIF's tag and its value for pixels as they are seen


@dataclass(frozen=True)
class ImageFile:
    """What the bytes of an image file say: their SHA-256, EXIF's orientation, and the problem."""

    sha256: str
    orientation: int
    problem: str | None


def check_data_set(
    train: DataSet,
    evaluation: DataSet,
    classes: Sequence[str] | None,
    input_size: int,
    threads: int,
    findings: Findings,
) -> None:
    """Tells everything that is wrong or odd in two splits; reads every image file once.

    Args:
        train: the images to train on.
        evaluation: the images to evaluate on.
        classes: those that are asked for, or None where they come from the data.
        input_size: side in pixels of the model's input.
        threads: readers at the same time.
        findings: who is told.
    """
    check_classes(train, classes, findings)
    check_splits(train, evaluation, findings)
    for record in {r.path: r for r in (*train.records, *evaluation.records)}.values():
        check_boxes(record, input_size, findings)
    for data, called in ((train, "train"), (evaluation, "evaluation")):
        check_empty_images(data.records, called, findings)
        if other := data.counts["other_class"]:
            left_out = f"{other} objects are of classes that are not detected: they are left out"
            findings.odd("objects of other classes", f"{called} split: {left_out}")
    check_files(train.records, evaluation.records, threads, findings)


def check_classes(train: DataSet, asked_for: Sequence[str] | None, findings: Findings) -> None:
    """Classes that are never trained, that are rare beside the others, or named alike."""
    labels = [np.zeros(0, np.int64), *(record.labels[~record.crowd] for record in train.records)]
    counts = np.bincount(np.concatenate(labels), minlength=len(train.classes) + 1)[1:]
    missing = [name for name, count in zip(train.classes, counts, strict=True) if count == 0]
    if not counts.any():
        findings.broken("nothing to train on", "no training image has an object")
    elif missing:
        tell = findings.odd if asked_for is None else findings.broken
        message = f"{', '.join(missing)}: no training image has such an object"
        tell("class without objects", message)
    pairs = zip(train.classes, counts.tolist(), strict=True)
    rare = [f"{name} ({count})" for name, count in pairs if 0 < count < RARE]
    if rare:
        findings.odd("rare classes", f"under {RARE} objects to train on: {', '.join(rare)}")
    alike = defaultdict(list)
    for name in train.classes:
        alike["".join(letter for letter in name.casefold() if letter.isalnum())].append(name)
    for names_alike in alike.values():
        if len(names_alike) > 1:
            findings.odd("classes named alike", f"{', '.join(map(repr, names_alike))}: one class?")


def check_splits(train: DataSet, evaluation: DataSet, findings: Findings) -> None:
    """Images that are trained on and evaluated on."""
    trained = {record.path for record in train.records}
    both = [record.path for record in evaluation.records if record.path in trained]
    if both:
        findings.odd(
            "trained and evaluated on",
            f"{len(both)} images are in both splits, and the evaluation flatters: {named(both)}",
        )


def check_empty_images(records: Sequence[Record], called: str, findings: Findings) -> None:
    """Images that have no object, in one line."""
    empty = [record.path for record in records if len(record.labels) == 0]
    if empty:
        message = f"{called} split: {len(empty)} of {len(records)}: {named(empty)}"
        findings.odd("images without objects", message)


def check_boxes(record: Record, input_size: int, findings: Findings) -> None:
    """Objects that were annotated twice, are too small to see or fill the image; odd images."""
    sizes = np.array([record.width, record.height] * 2, np.float32)
    for first, second in pairs_alike(record):
        same = record.labels[first] == record.labels[second]
        corners = ", ".join(f"{value:g}" for value in record.boxes[first].tolist())
        what = "the same object twice" if same else "one box with two classes"
        findings.odd("annotated twice", f"{record.path}: {what} at ({corners})")
    relative = record.boxes / sizes
    sides = relative[:, 2:] - relative[:, :2]
    for kind, rows, what in (
        ("tiny box", (sides * input_size < 1).any(1), f"under a pixel at input size {input_size}"),
        ("box of the whole image", (sides >= WHOLE_IMAGE).all(1), "as large as the image"),
    ):
        for box in record.boxes[rows].tolist():
            corners = ", ".join(f"{value:g}" for value in box)
            findings.odd(kind, f"{record.path}: the box ({corners}) is {what}")
    longer, shorter = max(record.width, record.height), min(record.width, record.height)
    if longer > SQUASHED * shorter:
        squashed = f"{record.width}x{record.height} is squashed to a square"
        findings.odd("narrow image", f"{record.path}: {squashed}")


def pairs_alike(record: Record) -> list[tuple[int, int]]:
    """Pairs of boxes that overlap nearly wholly and have one class, or are equal."""
    boxes = record.boxes
    overlap = overlaps(boxes)
    same_class = record.labels[:, None] == record.labels
    alike: BoolArray = (overlap >= SAME_OBJECT) & same_class | (overlap == 1)
    first, second = np.nonzero(np.triu(alike, 1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def overlaps(boxes: FloatArray) -> FloatArray:
    """Intersection over union [G, G] of boxes [G, 4] with each other."""
    low = np.maximum(boxes[:, None, :2], boxes[:, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    inter = np.clip(high - low, 0, None).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    union: FloatArray = area[:, None] + area - inter
    return np.asarray(inter / union, np.float32)


def check_files(
    train: Sequence[Record], evaluation: Sequence[Record], threads: int, findings: Findings
) -> None:
    """Unreadable images, images that a viewer turns, and one picture under two names."""
    evaluated = {record.path for record in evaluation}
    records = list({record.path: record for record in (*train, *evaluation)}.values())
    same: dict[str, list[Path]] = defaultdict(list)
    for record, file in zip(records, look_at_all(records, threads), strict=True):
        if file.problem is not None:
            findings.broken("unreadable image", file.problem)
            continue
        same[file.sha256].append(record.path)
        if file.orientation != UPRIGHT:
            findings.odd(
                "turned by EXIF",
                f"{record.path}: EXIF orientation {file.orientation} is not applied: boxes that "
                "were drawn on the turned image lie elsewhere",
            )
    for paths in same.values():
        for first, second in pairwise(paths):
            where = " in both splits" if (first in evaluated) != (second in evaluated) else ""
            findings.odd("one picture, two names", f"{first} and {second} are the same file{where}")


def look_at_all(records: Sequence[Record], threads: int) -> Iterable[ImageFile]:
    """Reads the image of every record, in order."""
    pool = ThreadPoolExecutor(threads)
    try:
        files = pool.map(look_at, records)
        yield from tqdm(files, "checking", len(records), unit="image", dynamic_ncols=True)
    finally:
        pool.shutdown(cancel_futures=True)


def look_at(record: Record) -> ImageFile:
    """Reads an image file and decodes it, as training does."""
    try:
        data = read_bytes(record.path)
        pixels_of(record, data)
    except UserError as error:
        return ImageFile("", UPRIGHT, str(error))
    return ImageFile(hashlib.sha256(data).hexdigest(), orientation(data), None)


def orientation(data: bytes) -> int:
    """EXIF's orientation of a JPEG, 1 … 8; 1 where there is none that makes sense."""
    from PIL import Image

    if b"Exif\0\0" not in data[:65536]:
        return UPRIGHT
    try:
        found = Image.open(io.BytesIO(data), formats=["JPEG"]).getexif().get(ORIENTATION, UPRIGHT)
    except (OSError, ValueError, SyntaxError):
        return UPRIGHT
    return found if found in range(1, 9) else UPRIGHT


def named(paths: Sequence[Path]) -> str:
    """The first few paths, and how many more there are."""
    first = ", ".join(map(str, paths[:NAMED]))
    return first if len(paths) <= NAMED else f"{first} and {len(paths) - NAMED} more"
