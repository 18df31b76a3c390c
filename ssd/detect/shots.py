"""Sources → pictures in memory, each with its name; those that cannot be read are told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import cast

from ssd.common.errors import UserError, one_line
from ssd.detect.few_packages import Pixels, Steps, decode_picture, read_picture, tell
from ssd.detect.piped import Stream, pictures_in
from ssd.detect.sources import Source
from ssd.detect.videos import Video


@dataclass(frozen=True)
class Shot:
    """A picture, or one frame of a video.

    Attributes:
        source: what it is from.
        name: the source's, with the number of the frame from 0 on: `clip/000012`.
        pixels: [H, W, 3], RGB.
        fps: frames per second of a video; 0 for a picture.
        file: the bytes that a pipe brought.
    """

    source: Source
    name: str
    pixels: Pixels
    fps: float = 0.0
    file: bytes | None = None


@dataclass(frozen=True)
class Reader:
    """Reads the sources.

    Attributes:
        sources: in their order.
        live: those among them that are open already, by their place.
        progress: counts what cannot be read.
        is_stopped: returns whether to end before the next picture.
        left_out: receives a line for each picture that cannot be read.
        lost: receives a line for each video that cannot be read to its end.
    """

    sources: Sequence[Source]
    live: Mapping[str, Video]
    progress: Steps
    is_stopped: Callable[[], bool]
    left_out: list[str]
    lost: list[str]

    def __iter__(self) -> Iterator[Shot]:
        """The pictures and frames of all sources."""
        readers = {"picture": self._picture, "piped": self._piped}
        for source in self.sources:
            reader = readers.get(source.kind, self._frames)
            with closing(reader(source)) as shots:
                for shot in shots:
                    if self.is_stopped():
                        return
                    yield shot

    def _picture(self, source: Source) -> Generator[Shot, None, None]:
        try:
            pixels = read_picture(source.path)
        except UserError as error:
            self._leave_out(self.left_out, error)
            self.progress.advance()
        else:
            yield Shot(source, source.image_id, pixels)

    def _piped(self, source: Source) -> Generator[Shot, None, None]:
        number = -1
        try:
            for number, file in enumerate(pictures_in(standard_input())):
                try:
                    pixels = decode_picture(file, f"{source}, picture {number}")
                except UserError as error:
                    self._leave_out(self.left_out, error)
                    self.progress.advance()
                else:
                    yield Shot(source, f"{source.image_id}/{number:06}", pixels, file=file)
            if number < 0:
                raise UserError(f"{source}: nothing came through the pipe")
        except UserError as error:
            self._leave_out(self.lost, error)

    def _frames(self, source: Source) -> Generator[Shot, None, None]:
        try:
            video = self.live.get(source.place) or Video(source)
            with closing(video):
                for number, pixels in enumerate(video):
                    yield Shot(source, f"{source.image_id}/{number:06}", pixels, video.fps)
        except UserError as error:
            self._leave_out(self.lost, error)

    def _leave_out(self, lines: list[str], error: UserError) -> None:
        lines.append(one_line(error))
        tell(f"left out: {lines[-1]}" if lines is self.left_out else lines[-1])


def standard_input() -> Stream:
    """The stream that a pipe brings.

    Raises:
        UserError: there is no pipe, but a person at a terminal.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("standard input is no pipe: send pictures into it, or give their names")
    return cast(Stream, sys.stdin.buffer)
