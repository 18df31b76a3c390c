"""Splits what a pipe brings into pictures: JPEG and PNG files in a row, or one file of any kind.

`ffmpeg -i … -f image2pipe -` writes such a row. The end of a picture is found by the structure of
its format, since the marker of an end may also occur inside, as in the preview of a photo.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from ssd.common.errors import UserError
from ssd.common.untrusted import MAX_PIXELS

CHUNK = 1 << 16
LARGEST = 8 * MAX_PIXELS  # bytes of one picture
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
START = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n")
AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # all else in a scan is data
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN = 0xD8, 0xD9, 0xDA


class Stream(Protocol):
    """A pipe, as Python opens it."""

    def read1(self, size: int, /) -> bytes:
        """Waits for some bytes; returns none at the end."""


class Buffer:
    """The bytes of a stream that have been read and not yet been taken: `data`."""

    def __init__(self, stream: Stream) -> None:
        self.data = bytearray()
        self._stream = stream

    def read_on(self) -> bool:
        """Waits for more bytes; returns False at the end of the stream."""
        more = self._stream.read1(CHUNK)
        self.data += more
        if len(self.data) > LARGEST:
            raise UserError(f"standard input: a picture has more than {LARGEST:,} bytes")
        return bool(more)

    def holds(self, count: int) -> bool:
        """Reads until there are `count` bytes; returns whether there are as many."""
        while len(self.data) < count:
            if not self.read_on():
                return False
        return True

    def find(self, pattern: re.Pattern[bytes], start: int) -> int:
        """The place of the first match from `start` on, or −1."""
        while (found := pattern.search(self.data, start)) is None:
            start = max(start, len(self.data) - len(PNG) + 1)  # a match may have begun
            if not self.read_on():
                return -1
        return found.start()

    def take(self, count: int) -> bytes:
        """Takes the first `count` bytes out."""
        first = bytes(self.data[:count])
        del self.data[:count]
        return first


def pictures_in(stream: Stream) -> Iterator[bytes]:
    """The files in a stream; bytes between them, and a file that is cut off, come as one of them.

    Raises:
        UserError: one is too large.
    """
    buffer = Buffer(stream)
    is_first = True
    while buffer.holds(1):
        buffer.holds(len(PNG))
        if buffer.data.startswith(JPEG):
            end = _end_of_jpeg(buffer)
        elif buffer.data.startswith(PNG):
            end = _end_of_png(buffer)
        elif is_first:
            while buffer.read_on():
                pass
            end = len(buffer.data)
        else:
            end = _next_start(buffer, 1)
        is_first = False
        yield buffer.take(end)


def _next_start(buffer: Buffer, at: int) -> int:
    """The start of the next picture, looked for from `at` on; else the end of the stream."""
    found = buffer.find(START, at)
    return len(buffer.data) if found < 0 else found


def _end_of_jpeg(buffer: Buffer) -> int:
    """The end of a JPEG at the start of the buffer; one that is broken ends at the next picture."""
    at = 2
    while buffer.holds(at + 2) and buffer.data[at] == 0xFF:
        marker = buffer.data[at + 1]
        if marker == END_OF_IMAGE:
            return at + 2
        if marker == START_OF_IMAGE:
            break
        if marker == 0xFF:  # fills
            at += 1
            continue
        if not buffer.holds(at + 4):
            break
        at += 2 + int.from_bytes(buffer.data[at + 2 : at + 4], "big")
        if marker == START_OF_SCAN:
            at = buffer.find(AFTER_SCAN, at)
            if at < 0:
                return len(buffer.data)
    return _next_start(buffer, at)


def _end_of_png(buffer: Buffer) -> int:
    """The end of a PNG at the start of the buffer; one that is broken ends at the next picture."""
    at = last = len(PNG)
    while buffer.holds(at + 8):
        kind = bytes(buffer.data[at + 4 : at + 8])
        length = int.from_bytes(buffer.data[at : at + 4], "big")
        if not kind.isalpha() or length > LARGEST:
            break
        last, at = at, at + 12 + length
        if kind == b"IEND" and buffer.holds(at):
            return at
    return _next_start(buffer, last)  # the last chunk may be cut off
