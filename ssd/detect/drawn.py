"""Drawn copies of pictures and videos, and drawn.json, which lists those that may be replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.common.untrusted import read_json
from ssd.detect.few_packages import Pixels
from ssd.detect.listed import Add
from ssd.detect.result import Result
from ssd.detect.shots import Shot
from ssd.detect.sources import Source
from ssd.report.pictures import Box, encode_jpeg
from ssd.run.names import DRAWN

Truth = Mapping[Path, Sequence[Box]]  # the ground truth of image files, by their resolved paths
CODEC = "mp4v"  # MPEG-4 part 2: OpenCV's wheels have no H.264, and VP9 takes 30 times as long


@contextmanager
def drawings(out: Path, truth: Truth) -> Iterator[Add]:
    """A drawn JPEG for each picture, and one drawn MP4 for each video."""
    video: VideoFile | None = None

    def add(shot: Shot, result: Result) -> None:
        nonlocal video
        source, path = shot.source, out / shot.source.drawn
        if source.kind == "picture":
            pixels = result.draw(truth.get(source.path.resolve(), ()))
        else:
            pixels = result.draw()
        if source.kind == "piped":
            path /= f"{shot.name.rpartition('/')[2]}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not shot.fps:
            path.write_bytes(encode_jpeg(pixels))
            return
        if video is None or video.path != path:
            if video is not None:
                video.close()
            video = VideoFile(path, shot.fps, pixels)
        video.add(pixels)

    try:
        yield add
    finally:
        if video is not None:
            video.close()


class VideoFile:
    """A video that is being written: MPEG-4 in an MP4 file.

    Args:
        path: the file.
        fps: frames per second.
        first: a frame, whose size all have; an odd side loses a pixel, as the codec wants.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: Path, fps: float, first: Pixels) -> None:
        self.path = path
        self._size = first.shape[1], first.shape[0]
        self._count = 0
        code = cv2.VideoWriter.fourcc(*CODEC)
        self._writer = cv2.VideoWriter(os.path.abspath(path), cv2.CAP_FFMPEG, code, fps, self._size)
        if not self._writer.isOpened():
            width, height = self._size
            raise UserError(
                f"{path}: OpenCV cannot write a video of {width}x{height}: give --no-draw"
            )

    def add(self, pixels: Pixels) -> None:
        """Writes a frame [H, W, 3], RGB."""
        frame = np.ascontiguousarray(pixels[..., ::-1])
        if frame.shape[1::-1] != self._size:
            frame = np.asarray(cv2.resize(frame, self._size), np.uint8)
        self._writer.write(frame)
        self._count += 1

    def close(self) -> None:
        """Completes the file.

        Raises:
            UserError: frames are missing in it, of which OpenCV says nothing.
        """
        self._writer.release()
        written = cv2.VideoCapture(os.path.abspath(self.path), cv2.CAP_FFMPEG)
        count = written.get(cv2.CAP_PROP_FRAME_COUNT)
        written.release()
        if count < self._count:
            raise UserError(f"{self.path}: could not be written whole: is the disk full?")


def refuse_to_overwrite(sources: Sequence[Source], out: Path) -> list[str]:
    """The drawn copies below `out`, earlier ones among them, as drawn.json lists them.

    Raises:
        UserError: one of them would overwrite a file that is no earlier copy.
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
