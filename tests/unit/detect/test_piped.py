"""Pictures that come one after another through a pipe."""

import io
import sys
from pathlib import PurePath

import cv2
import numpy as np
import pytest
from PIL import Image

from ssd.detect import piped, shots
from ssd.detect.piped import pictures_in
from ssd.detect.sources import Source
from tests.unit.detect.one_object import predicted

RNG = np.random.default_rng(0)
NOISE = [RNG.integers(0, 256, (30 + n, 40, 3), np.uint8) for n in range(4)]


def encoded(pixels, suffix):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def photo():
    """A JPEG with a preview inside, whose end is not its own, and in several scans."""
    preview = encoded(NOISE[0], ".jpg")
    file = io.BytesIO()
    Image.fromarray(NOISE[1]).save(file, "JPEG", comment=preview, progressive=True)
    assert file.getvalue().count(b"\xff\xd9") > 1
    return file.getvalue()


FILES = [photo(), encoded(NOISE[1], ".png"), encoded(NOISE[2], ".jpg"), photo()]


class Pipe:
    """Gives few bytes at a time, and counts them."""

    def __init__(self, data, most):
        self.file, self.most, self.given = io.BytesIO(data), most, 0

    def read1(self, size):
        data = self.file.read(min(size, self.most))
        self.given += len(data)
        return data


@pytest.mark.parametrize("most", [1, 7, 1000, 1 << 20])
def test_pictures_come_out_as_they_went_in(most):
    assert list(pictures_in(Pipe(b"".join(FILES), most))) == FILES
    assert list(pictures_in(Pipe(b"", most))) == []


def test_a_picture_comes_as_soon_as_it_is_there():
    pipe = Pipe(b"".join(FILES), 1)
    lengths = np.cumsum([len(file) for file in FILES])
    for length, file in zip(lengths, pictures_in(pipe), strict=True):
        assert file
        assert pipe.given == length


def test_bytes_between_pictures_and_a_cut_end_are_pictures_that_cannot_be_read():
    first, second, third, _ = FILES
    parts = [first, b"between", second, third[:-9]]
    assert list(pictures_in(Pipe(b"".join(parts), 11))) == parts
    for cut in (first[:-9], second[:-9], second[:-30]):
        parts = [cut, third, second, cut]
        assert list(pictures_in(Pipe(b"".join(parts), 11))) == parts
    damaged = bytearray(first)
    damaged[20] = 0  # where the second segment starts
    assert list(pictures_in(Pipe(bytes(damaged) + second, 11)))[-1] == second


def test_one_picture_of_another_format():
    bitmap = encoded(NOISE[3], ".bmp")
    assert list(pictures_in(Pipe(bitmap, 1000))) == [bitmap]


def test_a_stream_without_an_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(piped, "LARGEST", 10_000)
    with pytest.raises(ValueError, match="a picture has more than 10,000 bytes"):
        list(pictures_in(Pipe(b"BM" + bytes(20_000), 1000)))


def test_a_pipe_is_predicted_and_what_is_broken_is_told(monkeypatch, tmp_path):
    data = b"".join([*FILES[:3], FILES[3][:-500]])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
    told, seen = predicted("-", formats=["voc"])
    assert [one[:2] for one in seen] == [
        ("stdin/000000", (31, 40, 3)),
        ("stdin/000001", (31, 40, 3)),
        ("stdin/000002", (32, 40, 3)),
    ]
    assert told.is_incomplete
    assert "\n  standard input, picture 3: image is cut off" in told.told
    assert sorted(path.name for path in (tmp_path / "out/stdin").iterdir()) == [
        f"00000{n}.jpg" for n in range(3)
    ]
    assert (tmp_path / "out/voc/JPEGImages/stdin/000001.png").read_bytes() == FILES[1]


def test_a_pipe_that_brings_nothing_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(shots, "standard_input", lambda: io.BytesIO())
    source = Source("-", "stdin", PurePath("stdin"), "piped")
    reader = shots.Reader([source], {}, None, lambda: False, [], told)
    assert list(reader) == []
    assert len(told) == 1
    assert "nothing came through the pipe" in told[0]
