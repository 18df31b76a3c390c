"""Frames of videos, cameras and network streams, by OpenCV's reader.

A video file is untrusted. FFmpeg reads playlists and lists of files too, whose text names other
files and addresses that it would then open, and it takes a name such as `img%03d.jpg` for many
files. A file is therefore opened by its absolute path and by FFmpeg alone, as one of the containers
in `CONTAINERS`, and no protocol but that of files is permitted. For an address of the user's, it is
the other way round: network protocols are permitted, and files are not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.detect.kinds import CAMERA
from ssd.detect.sources import Source
from ssd.detect.video_ends import is_whole

Pixels = npt.NDArray[np.uint8]
OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # OpenCV reads this variable whenever it opens a video
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,m4v,mjpeg,jpeg_pipe,"
    "ivf,obu,mxf"
)
FILES_ALONE = f"format_whitelist;{CONTAINERS}|protocol_whitelist;file"
NETWORK_ALONE = (
    "rtsp_flags;prefer_tcp|protocol_whitelist;"
    "http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtsp,rtsps,rtmp,rtmps,srt,crypto"
)
PATIENCE = 10.0  # seconds to wait for an address, and for each of its frames
USUAL_FPS, MOST_FPS = 25.0, 1000.0
SURELY_MISSING = 1.0, 0.05  # seconds, and part of the whole, above which the end of a video is gone
CUT_OFF = "the video is cut off"


class Video:
    """The frames of a source, once, in order.

    Args:
        source: a video file, a camera, or an address.

    Attributes:
        fps: frames per second.
        num_frames: as the file claims; 0 if it does not say.

    Raises:
        UserError: it cannot be opened.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        if source.place.startswith(CAMERA):
            self._capture = _camera(source.place)
        elif source.kind == "live":
            self._capture = _stream(source)
        else:
            self._capture = _file(source.path)
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= MOST_FPS else USUAL_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.num_frames = int(count) if 0 < count < 2**31 else 0

    def close(self) -> None:
        """Lets go of the file or the camera."""
        self._capture.release()

    def __iter__(self) -> Iterator[Pixels]:
        """The frames [H, W, 3], RGB, as the video turns them.

        Raises:
            UserError: after the last frame that can be read, if others should follow.
        """
        read, last, started = 0, 0.0, time.monotonic()
        while True:
            is_there, frame = self._capture.read()
            if not is_there:
                break
            last = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
            read, started = read + 1, time.monotonic()
        if reason := self._loss(read, last, time.monotonic() - started):
            of = f" of {self.num_frames:,}" if self.num_frames > read else ""
            raise UserError(f"{self._source}: {reason}, after {read:,}{of} frames")

    def _loss(self, read: int, last: float, waited: float) -> str:
        """Tells why frames are missing at the end; empty if none is.

        Args:
            read: frames.
            last: the time of the last of them in the video, in seconds.
            waited: for the one that did not come, in seconds.
        """
        if self._source.place.startswith(CAMERA):
            return "the camera gives no more frames"
        if self._source.kind == "live" and waited > 0.9 * PATIENCE:
            return f"no frame came for {PATIENCE:.0f} seconds"
        if not read:
            return "no frame can be decoded"
        whole = is_whole(self._source.path) if self._source.kind == "video" else None
        if whole is not None:
            return "" if whole else CUT_OFF
        length = self.num_frames / self.fps  # often an estimate
        seconds, part = SURELY_MISSING
        return CUT_OFF if length - last > max(seconds, part * length) else ""


def _camera(word: str) -> Any:
    number = word.removeprefix(CAMERA)
    if not (number.isascii() and number.isdigit() and len(number) < 4):
        raise UserError(f"{word} is no camera: give its number, as in camera:0")
    capture = cv2.VideoCapture(int(number))
    if not capture.isOpened():
        raise UserError(f"{word}: there is no such camera, or another program uses it")
    return capture


def _stream(source: Source) -> Any:
    patience = int(PATIENCE * 1000)
    limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, patience, cv2.CAP_PROP_READ_TIMEOUT_MSEC, patience)
    own = os.environ.get(OPTIONS)  # such as rtsp_transport;udp
    with _permitted(f"{own}|{NETWORK_ALONE}" if own else NETWORK_ALONE):
        capture = cv2.VideoCapture(source.place, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        raise UserError(
            f"{source} does not answer, or sends no video: check the address (it had "
            f"{PATIENCE:.0f} seconds)"
        )
    return capture


def _file(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: it is not a regular file")
    with _permitted(FILES_ALONE):
        capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        reason = "is no video that can be read"
        if is_whole(path) is False:
            reason = f"{CUT_OFF}, and its list of frames is lost"
        raise UserError(f"{path}: {reason}")
    return capture


@contextmanager
def _permitted(options: str) -> Iterator[None]:
    """Limits what FFmpeg may open meanwhile."""
    before = os.environ.get(OPTIONS)
    os.environ[OPTIONS] = options
    try:
        yield
    finally:
        if before is None:
            del os.environ[OPTIONS]
        else:
            os.environ[OPTIONS] = before


def count_frames(source: Source) -> int:
    """The frames that a video file claims to have; 0 if it cannot be opened or does not say."""
    try:
        video = Video(source)
    except UserError:
        return 0
    video.close()
    return video.num_frames
