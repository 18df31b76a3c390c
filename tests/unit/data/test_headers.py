import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd.common.errors import UserError
from ssd.data import headers, image_header
from ssd.data.headers import read_headers
from ssd.data.image import read_image
from ssd.data.image_header import Header, read_header

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    """More images than a thread takes at once; they are 10, 11, … pixels wide."""
    paths = [tmp_path / f"{n:03}.{'png' if n % 2 else 'jpg'}" for n in range(150)]
    for n, path in enumerate(paths):
        Image.new("RGB", (10 + n, 6)).save(path)
    return paths


@pytest.fixture
def looked_at(monkeypatch) -> list[Path]:
    """The files that are opened."""
    seen: list[Path] = []
    read = headers._read

    def noted(path, *arguments):
        seen.append(path)
        return read(path, *arguments)

    monkeypatch.setattr(headers, "_read", noted)
    return seen


def test_headers_are_in_the_order_of_the_files(paths):
    assert read_headers(paths) == [Header(10 + n, 6) for n in range(150)]
    assert read_headers([]) == []


def test_a_resumed_run_opens_no_file_again(paths, looked_at, tmp_path):
    kept = tmp_path / "run" / "headers.json"
    first = read_headers(paths, kept)
    assert sorted(looked_at) == paths
    looked_at.clear()
    assert read_headers(paths[:90], kept) == first[:90]
    assert looked_at == []
    assert read_headers(paths, kept) == first  # those of another split are kept as well
    assert looked_at == []


def test_a_file_that_changed_is_opened_again(paths, looked_at, tmp_path):
    kept = tmp_path / "headers.json"
    read_headers(paths, kept)
    looked_at.clear()
    Image.new("RGB", (20, 30)).save(paths[3])
    state = paths[4].stat()
    os.utime(paths[4], ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert read_headers(paths, kept)[3] == Header(20, 30)
    assert sorted(looked_at) == paths[3:5]


def test_an_unreadable_file_is_opened_again(paths, looked_at, tmp_path):
    kept, whole = tmp_path / "headers.json", paths[0].read_bytes()
    paths[0].write_bytes(whole[:-20])
    state = paths[0].stat()
    assert isinstance(read_headers(paths, kept)[0], UserError)
    looked_at.clear()
    paths[0].write_bytes(whole)
    os.utime(paths[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    assert read_headers(paths, kept)[0] == Header(10, 6)
    assert looked_at == paths[:1]


@pytest.mark.parametrize("row", [
    None, [], [1, 2, 3], ["a"] * 5, [0, 0, 10**6, 10**6, 1], [0, 0, 1, 1, 9], [0, 0, -1, 6, 1],
    [0, 0, 9, 6, True],
])  # fmt: skip
def test_a_row_that_makes_no_sense_is_not_believed(paths, tmp_path, row):
    kept, state = tmp_path / "headers.json", paths[0].stat()
    if isinstance(row, list) and row[:2] == [0, 0]:
        row[:2] = state.st_size, state.st_mtime_ns
    kept.write_text(json.dumps({str(paths[0]): row}))
    assert read_headers(paths[:1], kept) == [Header(10, 6)]


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": '])
def test_a_broken_file_is_written_anew(paths, tmp_path, content):
    kept = tmp_path / "headers.json"
    kept.write_text(content)
    assert read_headers(paths[:1], kept) == [Header(10, 6)]
    assert str(paths[0]) in json.loads(kept.read_text())


def broken(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    path.unlink()
    match kind:
        case "missing":
            return
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "empty":
            path.touch()
        case "cut off":
            path.write_bytes(whole[: len(whole) * 2 // 3])
        case "no image":
            path.write_text("not an image")
        case "huge file":
            with path.open("wb") as file:
                file.truncate(1 << 30)


KINDS = ["missing", "folder", "pipe", "empty", "cut off", "no image", "huge file"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_header_tells_what_decoding_would(tmp_path, kind, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path)
    broken(path, kind)
    (found,) = read_headers([path])
    assert isinstance(found, UserError)
    with pytest.raises(UserError) as error:
        read_image(path)
    assert str(found) == str(error.value)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_bytes_after_the_end_do_no_harm(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes() + bytes(1000))
    assert read_headers([path]) == [Header(9, 6)]


def test_a_wrong_checksum_of_a_comment_is_no_reason_to_refuse(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    data = path.read_bytes()
    comment = struct.pack(">I", 3) + b"tEXta\0boops"
    path.write_bytes(data[:33] + comment + data[33:])
    with path.open("rb") as file:
        assert read_header(file) is None
    assert read_headers([path]) == [Header(9, 6)]


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_what_pillow_refuses_is_decoded_for_its_size(tmp_path, monkeypatch, suffix):
    def refuse(file):
        raise SyntaxError("unusual")

    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path)
    monkeypatch.setattr(image_header, "FORMATS", dict.fromkeys(image_header.FORMATS, refuse))
    assert read_headers([path]) == [Header(9, 6)]
    assert read_image(path).shape == (6, 9, 3)
