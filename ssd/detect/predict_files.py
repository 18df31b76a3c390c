"""Runs any detector on pictures, videos and streams: writes drawn copies and lists of objects."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ssd.common.errors import UserError
from ssd.common.words import counted
from ssd.data.class_names import meant
from ssd.detect.annotated import VOC, YOLO, refuse_earlier, voc_folder, yolo_folder
from ssd.detect.drawn import Truth, drawings, drawn_before, refuse_to_overwrite, write_drawn
from ssd.detect.few_packages import Pixels, progress_of
from ssd.detect.listed import Add, coco_results, detection_list
from ssd.detect.result import Result
from ssd.detect.shots import Reader, Shot, standard_input
from ssd.detect.sources import (
    OTHER_PICTURES,
    Source,
    find_sources,
    inputs_in,
    num_subfolders,
    paths_among,
)
from ssd.detect.videos import Video, count_frames
from ssd.report.pictures import SHOWN_SCORE
from ssd.run.folder import check_out
from ssd.run.names import DETECTIONS

COCO = "coco"
FORMATS = (COCO, VOC, YOLO)


@dataclass(frozen=True)
class Order:
    """An order of the user: the sources to predict, and the results to write.

    Attributes:
        given: files, folders, patterns, videos, `camera:0`, addresses, and `-` for standard input.
        out: folder for the results.
        min_score: objects below it are neither drawn nor written.
        recursive: take the files of subfolders too.
        draw: whether to write drawn copies.
        classes: names of the classes to keep; all if it is empty.
        most: objects of an image to keep, best first; all if it is None.
        formats: what to write beside detections.json, of `FORMATS`.
        is_stopped: returns whether to end before the next picture.
    """

    given: Sequence[str]
    out: Path
    min_score: float = SHOWN_SCORE
    recursive: bool = False
    draw: bool = True
    classes: Sequence[str] = ()
    most: int | None = None
    formats: Sequence[str] = ()
    is_stopped: Callable[[], bool] = field(default=lambda: False)


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
    opened: Callable[[], tuple[Finder, str]], order: Order, truth: Truth | None = None
) -> Predicted:
    """Detects objects in pictures; one that cannot be read is told, and left out.

    Args:
        opened: gives the detector, and a line that says which it is.
        order: what to predict, and what to write.
        truth: the ground truth to draw beside the objects; None for none.

    Raises:
        UserError: a file does not exist, a camera or an address does not answer, there is no such
            class, or something that is no earlier result would be overwritten.
    """
    out = order.out
    check_out(out, "predictions")
    refuse_earlier(out, [name for name in order.formats if name != COCO])
    sources = find_sources(order.given, order.recursive, out)
    copies = refuse_to_overwrite(sources, out) if order.draw else sorted(drawn_before(out))
    with ExitStack() as to_close:
        live = open_live(sources, to_close)
        detector, using = opened()
        check_classes(order.classes, detector.classes)
        out.mkdir(parents=True, exist_ok=True)
        write_drawn(out, copies)  # first: the next call has to know them after a kill too
        left_out, lost = of_other_formats(order), list[str]()
        progress = to_close.enter_context(progress_of(*number_of(sources)))
        shots = Reader(sources, live, progress, order.is_stopped, left_out, lost)
        tally = Tally()
        adding = [
            to_close.enter_context(each)
            for each in outputs(order, sources, detector.classes, truth or {})
        ]
        for shot, result in found(detector, shots, order):
            for add in adding:
                add(shot, result)
            tally.count(shot, result)
            progress.advance()
    write_drawn(out, [copy for copy in copies if (out / copy).exists()])
    lines = [using, tally.told(order), *told_beside(order, sources, truth)]
    lines += told_missing(left_out, lost, tally.images)
    return Predicted("\n".join(lines), bool(left_out or lost))


def open_live(sources: Sequence[Source], to_close: ExitStack) -> dict[str, Video]:
    """Opens cameras and addresses, by their place, before the model takes its time to load.

    Raises:
        UserError: one does not answer, or standard input is no pipe.
    """
    live: dict[str, Video] = {}
    for source in sources:
        if source.kind == "piped":
            standard_input()
        if source.kind == "live":
            live[source.place] = Video(source)
            to_close.callback(live[source.place].close)
    return live


def found(detector: Finder, shots: Iterable[Shot], order: Order) -> Iterator[tuple[Shot, Result]]:
    """Each picture with the objects that the user wants of it."""
    waiting: deque[Shot] = deque()  # as many as the detector takes at once

    def named() -> Iterator[tuple[str, Pixels]]:
        for shot in shots:
            waiting.append(shot)
            yield shot.name, shot.pixels

    for result in detector.results(named(), order.min_score):
        yield waiting.popleft(), result.only(order.classes, order.most)


def outputs(
    order: Order, sources: Sequence[Source], classes: Sequence[str], truth: Truth
) -> Iterator[AbstractContextManager[Add]]:
    """All that is written of each picture."""
    yield detection_list(order.out)
    if order.draw:
        yield drawings(order.out, truth)
    if COCO in order.formats:
        yield coco_results(order.out, sources, classes)
    if VOC in order.formats:
        yield voc_folder(order.out)
    if YOLO in order.formats:
        yield yolo_folder(order.out, classes)


@dataclass
class Tally:
    """The numbers of objects, pictures and frames."""

    objects: int = 0
    images: int = 0
    frames: int = 0

    def count(self, shot: Shot, result: Result) -> None:
        """Counts a picture or a frame."""
        self.objects += len(result)
        if shot.fps:
            self.frames += 1
        else:
            self.images += 1

    def told(self, order: Order) -> str:
        """Says in one line what there was, and where the results are."""
        parts = [counted(self.frames, "frame")] if self.frames else []
        if self.images or not parts:
            parts.insert(0, counted(self.images, "image"))
        drawn = f"drawn in {order.out}, " if order.draw else ""
        return (
            f"{counted(self.objects, 'object')} of score {order.min_score:g} or more in "
            f"{' and '.join(parts)}: {drawn}listed in {order.out / DETECTIONS}"
        )


def told_beside(order: Order, sources: Sequence[Source], truth: Truth | None) -> Iterator[str]:
    """Lines about what was written besides, and about what was not looked at."""
    if order.is_stopped():
        yield "stopped before the end"
    if order.formats:
        yield f"also written: {', '.join(order.formats)}, in {order.out}"
    closed = 0
    if not order.recursive:
        closed = num_subfolders(paths_among(order.given, order.out), order.out)
    if closed:
        yield f"not looked into: {counted(closed, 'subfolder')}; --recursive takes them too"
    if truth is not None:
        without = sum(source.path.resolve() not in truth for source in sources)
        if without:
            yield f"{counted(without, 'source')} without ground truth in the evaluation data"


def told_missing(left_out: Sequence[str], lost: Sequence[str], images: int) -> Iterator[str]:
    """Lines about what could not be read, beside `images` that could."""
    if left_out:
        of = counted(images + len(left_out), "image")
        remedy = "save them anew as JPEG or PNG, or leave them out"
        yield f"left out {len(left_out)} of {of} ({remedy}):"
        yield from (f"  {each}" for each in left_out)
    if lost:
        yield "not read, or not to the end:"
        yield from (f"  {each}" for each in lost)


def number_of(sources: Sequence[Source]) -> tuple[int | None, str]:
    """The number of pictures and frames in the sources, None if not known; and their unit."""
    kinds = {source.kind for source in sources}
    unit = "image" if kinds <= {"picture", "piped"} else "frame"
    if kinds & {"live", "piped"}:
        return None, unit
    videos = sum(count_frames(source) for source in sources if source.kind == "video")
    return videos + sum(source.kind == "picture" for source in sources), unit


def check_classes(wanted: Sequence[str], classes: Sequence[str]) -> None:
    """Makes sure that all classes to keep are of the detector.

    Raises:
        UserError: one is not.
    """
    unknown = [name for name in wanted if name not in classes]
    if unknown:
        raise UserError(
            f"--classes: there is no {unknown[0]!r}{meant(unknown, classes)}; the classes are "
            f"{', '.join(classes)}"
        )


def of_other_formats(order: Order) -> list[str]:
    """A line for each file in the given folders that is a picture of a format unread."""
    files = [
        path
        for folder in paths_among(order.given, order.out)
        if folder.is_dir()
        for path in inputs_in(folder, order.recursive, order.out, OTHER_PICTURES)
    ]
    return [f"{path}: {path.suffix} files are not read" for path in dict.fromkeys(files)]
