"""Turned pixels are Pillow's; turned boxes are those around the turned pixels."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from ssd.data.exif import INVERSE, turned_corners, turned_pixels, turned_sides, turned_size
from ssd.data.headers import read_headers
from ssd.data.image import read_image, read_pixels
from ssd.data.image_header import Header
from ssd.structures import Record

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
NOTHING = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, bool)
ORIENTATIONS = range(1, 9)


def saved(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".webp": {"lossless": True}}.get(path.suffix, {})
    Image.fromarray(RGB).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_pixels_are_turned_as_pillow_turns_them(tmp_path, suffix, orientation):
    path = saved(tmp_path / f"a{suffix}", orientation)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.flags.c_contiguous
    (header,) = read_headers([path])
    if suffix == ".tiff":  # a decoder turns it
        assert header == Header(expected.shape[1], expected.shape[0])
    else:
        assert header == Header(9, 6, orientation)
    record = Record("a", path, expected.shape[1], expected.shape[0], *NOTHING, header.orientation)
    np.testing.assert_array_equal(read_pixels(record), expected)


def test_as_stored(tmp_path):
    record = Record("a", saved(tmp_path / "a.png", 6), 9, 6, *NOTHING, orientation=1)
    np.testing.assert_array_equal(read_pixels(record), RGB)
    np.testing.assert_array_equal(
        read_pixels(replace(record, width=6, height=9, orientation=6)), np.rot90(RGB, -1)
    )


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_box_is_around_the_turned_pixels(orientation):
    """Each box is painted, the picture is turned, and the box is found again."""
    rng = np.random.default_rng(orientation)
    height, width = 7, 11
    for _ in range(20):
        x1, x2 = sorted(rng.choice(width + 1, 2, replace=False))
        y1, y2 = sorted(rng.choice(height + 1, 2, replace=False))
        painted = np.zeros((height, width, 3), np.uint8)
        painted[y1:y2, x1:x2] = 1
        turned = turned_pixels(painted, orientation)
        assert turned.shape[1::-1] == turned_size(width, height, orientation)
        rows, columns = np.nonzero(turned[..., 0])
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        box, size = np.array([[x1, y1, x2, y2]], float), np.array([[width, height]])
        np.testing.assert_array_equal(turned_corners(box, size, orientation), [found])
        sides = np.array([[x1, y1, x2 - x1, y2 - y1]], float)
        left, top, right, bottom = found
        expected = [[left, top, right - left, bottom - top]]
        np.testing.assert_array_equal(turned_sides(sides, size, orientation), expected)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_inverse_turns_back(orientation):
    turned = turned_pixels(RGB, orientation)
    np.testing.assert_array_equal(turned_pixels(turned, INVERSE[orientation]), RGB)


def test_turned_sides_keep_their_digits():
    """0.1 + 0.2 - 0.1 is not 0.2 in floating point."""
    box, size = np.array([[0.1, 0.1, 0.2, 0.7]]), np.array([[10, 10]])
    assert turned_sides(box, size, 6)[0, 2:].tolist() == [0.7, 0.2]


def with_exif(data, value, order="<"):
    """A JPEG with Exif data of its orientation and another tag."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = [(0x0100, 7), (0x0112, value)]
    packed = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, n, 0) for tag, n in entries)
    directory = struct.pack(f"{order}H", len(entries)) + packed + bytes(4)
    content = b"Exif\0\0" + mark + struct.pack(f"{order}I", 8) + directory
    return data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content + data[2:]


@pytest.mark.parametrize(("order", "value", "expected"), [
    ("<", 6, 6), (">", 6, 6), ("<", 0, 1), ("<", 9, 1), (">", 60000, 1),
])  # fmt: skip
def test_an_impossible_orientation_is_none(tmp_path, order, value, expected):
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path)
    path.write_bytes(with_exif(path.read_bytes(), value, order))
    assert read_headers([path]) == [Header(9, 6, expected)]


@pytest.mark.parametrize("length", range(20, 60, 3))
def test_broken_exif_data_does_no_harm(tmp_path, length):
    """Zeros follow the part that is left of them."""
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path)
    data = with_exif(path.read_bytes(), 6)
    end = (
        data.index(b"\xff\xe1") + 2 + struct.unpack_from(">H", data, data.index(b"\xff\xe1") + 2)[0]
    )
    path.write_bytes(data[:length] + bytes(max(0, end - length)) + data[max(end, length) :])
    (header,) = read_headers([path])
    assert header[:2] == (9, 6)
    assert read_image(path).shape in ((6, 9, 3), (9, 6, 3))
