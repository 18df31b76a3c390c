"""The JSON files of predictions: detections.json, and COCO's results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssd.detect.result import Result
from ssd.detect.shots import Shot
from ssd.detect.sources import Source
from ssd.run.names import COCO_IMAGES, COCO_RESULTS, DETECTIONS

Add = Callable[[Shot, Result], None]
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


@contextmanager
def detection_list(out: Path) -> Iterator[Add]:
    """detections.json: the objects of all images, by the names of images and classes."""
    with json_rows(out / DETECTIONS) as write:

        def add(shot: Shot, result: Result) -> None:
            for row in result.to_coco():
                del row["category_id"]
                write(row)

        yield add


@contextmanager
def coco_results(out: Path, sources: Sequence[Source], classes: Sequence[str]) -> Iterator[Add]:
    """The objects in COCO's results format, and the images and classes that its numbers mean.

    The number of an image is its name where all names are numbers, as in COCO; else its place,
    from 1 on. Classes count from 1.
    """
    own_numbers = numbers_of(sources)
    names = [{"id": label, "name": name} for label, name in enumerate(classes, start=1)]
    before = f'{{"categories": {encode(names)},\n"images": [\n'
    count = 0
    with (
        json_rows(out / COCO_RESULTS) as write,
        json_rows(out / COCO_IMAGES, before, "\n]}\n") as write_image,
    ):

        def add(shot: Shot, result: Result) -> None:
            nonlocal count
            count += 1
            image_id = own_numbers.get(shot.name, count)
            height, width = result.pixels.shape[:2]
            name = shot.source.path.name if shot.source.kind == "picture" else shot.name
            write_image({"id": image_id, "file_name": name, "width": width, "height": height})
            for row in result.to_coco(image_id):
                del row["category"]
                write(row)

        yield add


def numbers_of(sources: Sequence[Source]) -> dict[str, int]:
    """The names of images as numbers; empty unless all are different numbers."""
    names = [source.image_id for source in sources]
    are_numbers = all(name.isascii() and name.isdigit() and len(name) < 19 for name in names)
    if not are_numbers or any(source.kind != "picture" for source in sources):
        return {}
    numbers = {name: int(name) for name in names}
    return numbers if len(set(numbers.values())) == len(names) else {}


@contextmanager
def json_rows(
    path: Path, before: str = "[\n", after: str = "\n]\n"
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that adds a row to a list in a JSON file, which gets its name when it is whole.

    Args:
        path: the file.
        before: the text before the rows.
        after: the text after them.
    """
    partial = path.with_name(path.name + ".partial")
    between = ""
    try:
        with partial.open("w", encoding="utf-8", errors="replace", newline="\n") as file:

            def write(row: dict[str, Any]) -> None:
                nonlocal between
                file.write(between + encode(row))
                between = ",\n"

            file.write(before)
            yield write
            file.write(after)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
