"""Runs any detector on image files: writes drawn copies and detections.json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ssd.common.errors import UserError, one_line
from ssd.common.files import write_whole
from ssd.common.untrusted import read_json
from ssd.common.words import counted
from ssd.detect.few_packages import Pixels, Steps, progress_of, read_picture, tell
from ssd.detect.result import Result
from ssd.detect.sources import (
    OTHER_PICTURES,
    Source,
    image_sources,
    inputs_in,
    num_subfolders,
)
from ssd.evaluation.detections import DetectionTable, write_detections
from ssd.report.pictures import encode_jpeg
from ssd.run.folder import check_out
from ssd.run.names import DETECTIONS, DRAWN

NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Predicted:
    """The text to show to the user, and whether an image was left out."""

    told: str
    is_incomplete: bool


class Finder(Protocol):
    """Whatever finds objects: a model, or an exported file."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels from 1 on."""

    def results(self, named: Iterable[tuple[str, Pixels]], min_score: float) -> Iterator[Result]:
        """The results of pictures [H, W, 3], RGB, with their names, one after another."""


def predict_files(
    opened: Callable[[], tuple[Finder, str]],
    given: Sequence[Path],
    out: Path,
    min_score: float,
    recursive: bool = False,
) -> Predicted:
    """Detects objects in images; one that cannot be read is told, and left out.

    Args:
        opened: gives the detector, and a line that says which it is.
        given: image files and folders of them.
        out: folder for a drawn copy of every image, and one detections.json.
        min_score: detections below it are neither drawn nor written.
        recursive: take the images of subfolders too.

    Raises:
        UserError: a file does not exist, its drawn copy would overwrite a picture that is no
            earlier copy, or `out` holds something else.
    """
    check_out(out, "predictions")
    sources = image_sources(given, recursive, out)
    copies = refuse_to_overwrite(sources, out)
    detector, using = opened()
    out.mkdir(parents=True, exist_ok=True)
    write_drawn(out, copies)  # first: the next call has to know them after a kill too
    drawn = {source.image_id: out / source.drawn for source in sources}
    found, left_out = [], of_other_formats(given, recursive, out)
    num_images = len(sources) + len(left_out)
    with progress_of(len(sources)) as progress:
        for result in detector.results(readable(sources, left_out, progress), min_score):
            drawn[result.image].parent.mkdir(parents=True, exist_ok=True)
            drawn[result.image].write_bytes(encode_jpeg(result.draw()))
            found.append(replace(result, pixels=NO_PIXELS))  # many pictures need not be kept
            progress.advance()
    write_drawn(out, [copy for copy in copies if (out / copy).exists()])
    table = table_of(found)
    write_detections(out / DETECTIONS, table, [one.image for one in found], detector.classes)
    lines = [
        using,
        f"{counted(len(table), 'object')} of score {min_score:g} or more in "
        f"{counted(len(found), 'image')}: drawn in {out}, listed in {out / DETECTIONS}",
    ]
    closed = 0 if recursive else num_subfolders(given, out)
    if closed:
        lines.append(f"not looked into: {counted(closed, 'subfolder')}; --recursive takes them too")
    if left_out:
        remedy = "save them anew as JPEG or PNG, or leave them out"
        lines.append(f"left out {len(left_out)} of {num_images} images ({remedy}):")
    return Predicted("\n".join([*lines, *(f"  {each}" for each in left_out)]), bool(left_out))


def of_other_formats(given: Sequence[Path], recursive: bool, out: Path) -> list[str]:
    """A line for each file in the folders among `given` that is a picture of a format unread."""
    folders = [source for source in given if source.is_dir()]
    files = [
        path for folder in folders for path in inputs_in(folder, recursive, out, OTHER_PICTURES)
    ]
    return [f"{path}: {path.suffix} files are not read" for path in dict.fromkeys(files)]


def readable(
    sources: Sequence[Source], left_out: list[str], progress: Steps
) -> Iterator[tuple[str, Pixels]]:
    """The name and the pixels of each image; appends a line to `left_out` for an unreadable one."""
    for source in sources:
        try:
            pixels = read_picture(source.path)
        except UserError as error:
            left_out.append(one_line(error))
            tell(f"left out: {left_out[-1]}")
            progress.advance()
        else:
            yield source.image_id, pixels


def table_of(results: Sequence[Result]) -> DetectionTable:
    """The results of several pictures as one table."""
    return DetectionTable(
        np.repeat(np.arange(len(results)), np.array([len(one) for one in results], np.int64)),
        np.concatenate([np.zeros(0, np.int64), *(one.labels for one in results)]),
        np.concatenate([np.zeros(0), *(one.scores for one in results)]),
        np.concatenate([np.zeros((0, 4)), *(one.boxes for one in results)]),
    )


def refuse_to_overwrite(sources: Sequence[Source], out: Path) -> list[str]:
    """The drawn copies below `out`, earlier ones among them, as drawn.json lists them.

    Raises:
        UserError: one of them would overwrite a picture that is no earlier copy.
    """
    earlier = drawn_before(out)
    originals = {source.path.resolve() for source in sources}
    for source in sources:
        copy = out / source.drawn
        is_new = not os.path.lexists(copy)
        if copy.resolve() in originals or not (is_new or str(source.drawn) in earlier):
            raise UserError(f"{copy} would be overwritten: give another --out")
    return sorted(earlier | {str(source.drawn) for source in sources})


def write_drawn(out: Path, pictures: Sequence[str]) -> None:
    """Writes drawn.json, the pictures in `out` that a later call may replace."""
    write_whole(out / DRAWN, json.dumps({"pictures": pictures}, indent=1) + "\n")


def drawn_before(out: Path) -> set[str]:
    """The pictures that earlier calls may have drawn in a folder."""
    if not (out / DRAWN).exists():
        return set()
    content = read_json(out / DRAWN)
    pictures = content.get("pictures") if isinstance(content, dict) else None
    return {name for name in pictures or () if isinstance(name, str)}
