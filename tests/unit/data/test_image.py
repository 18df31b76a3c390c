import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd.common.errors import UserError
from ssd.data.image import read_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def saved(path: Path, pixels: np.ndarray = RGB, mode: str = "RGB", **options: object) -> Path:
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_lossless_files_come_back_as_rgb(tmp_path, suffix):
    pixels = read_image(saved(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(pixels, RGB)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_jpeg_equals_pillow(tmp_path):
    smooth = np.asarray(Image.fromarray(RGB).resize((64, 48), Image.Resampling.BICUBIC))
    for options in ({}, {"progressive": True}, {"subsampling": 2, "quality": 60}):
        path = saved(tmp_path / "a.jpg", smooth, **options)
        np.testing.assert_array_equal(read_image(path), np.asarray(Image.open(path)))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_grayscale_comes_out_as_rgb(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", mode="L")
    gray = np.asarray(Image.open(path))
    np.testing.assert_array_equal(read_image(path), np.stack([gray] * 3, 2))


def test_palette_and_transparency(tmp_path):
    palette = saved(tmp_path / "p.png", mode="P")
    np.testing.assert_array_equal(
        read_image(palette), np.asarray(Image.open(palette).convert("RGB"))
    )
    np.testing.assert_array_equal(read_image(saved(tmp_path / "t.png", mode="RGBA")), RGB)


def test_cmyk(tmp_path):
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    path = saved(tmp_path / "a.jpg", flat, mode="CMYK", quality=95)
    assert np.abs(read_image(path).astype(int) - flat).max() <= 3


def test_format_is_told_by_content(tmp_path):
    (tmp_path / "a.png").write_bytes(saved(tmp_path / "b.bmp").read_bytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


def test_bytes_after_the_end_do_no_harm(tmp_path):
    for suffix in ("jpg", "png"):
        path = saved(tmp_path / f"a.{suffix}")
        pixels = read_image(path)
        path.write_bytes(path.read_bytes() + bytes(1000))
        np.testing.assert_array_equal(read_image(path), pixels)


def huge_bmp() -> bytes:
    return b"BM" + bytes(12) + struct.pack("<iiihh", 40, 20000, -20000, 1, 24) + bytes(100)


def chunk(name: bytes, content: bytes = b"") -> bytes:
    named = name + content
    return struct.pack(">I", len(content)) + named + struct.pack(">I", zlib.crc32(named))


def png_of_nothing() -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 6, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT") + chunk(b"IEND")


def old_bmp(width: int, height: int) -> bytes:
    """OS/2's header: read as Windows', its width is negative and hides the size."""
    return b"BM" + bytes(12) + struct.pack("<IHHHH", 12, width, height, 1, 24) + bytes(100)


def lone_marker_jpeg() -> bytes:
    """A marker without a length, D0: whoever reads one misses the frame, and finds a small one."""
    frame = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, 30000, 30000) + b"\1\1\x11\0"
    small = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, 6, 9) + b"\1\1\x11\0"
    comment = b"\xff\xfe\xff\xff" + small * 5041
    scan = b"\xff\xda" + struct.pack(">H", 8) + b"\1\1\0\0\x3f\0"
    return b"\xff\xd8\xff\xd0" + frame + comment + scan + b"\xff\xd9"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "image is empty"),
        (b"%PDF-1.7 and more", "image is not a JPEG, PNG, BMP, WebP, TIFF or GIF file"),
        (b"GIF89a and more", "image is cut off or its header is broken"),
        (b"II*\0", "image is cut off or its header is broken"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image is cut off or its header is broken"),
        (b"\xff\xd8\xff", "image is cut off or its header is broken"),
        (b"\x89PNG\r\n\x1a\n", "image is cut off or its header is broken"),
        (b"BM", "image is cut off or its header is broken"),
        (huge_bmp(), "image is 20000x20000, but at most 100000000 pixels"),
        (b"\xff\xd8\xff\xda garbage \xff\xd9", "image is cut off or its header is broken"),
        (png_of_nothing(), "image is damaged and cannot be decoded"),
        (old_bmp(30000, 33000), "image is 30000x33000, but at most 100000000 pixels"),
        (
            lone_marker_jpeg(),
            "image is 30000x30000, but at most 100000000 pixels",
        ),
    ],
)
def test_unreadable_files_are_told(tmp_path, data, told):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        read_image(path)
    assert str(error.value).startswith(f"{path}: {told}")
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"a\.jpg: the image cannot be opened \(No such file"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif", "gif"])
def test_every_truncation_is_found(tmp_path, suffix):
    noise = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    path = saved(tmp_path / f"a.{suffix}", noise)
    data = path.read_bytes()
    # A PNG only lacks the checksum of its empty last chunk when up to four bytes are gone; a GIF
    # without its last two bytes, which hold no pixel, is whole.
    for length in range(0, len(data) - {"png": 4, "gif": 2}.get(suffix, 0), 7):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"image is"):
            read_image(path)


def test_the_end_of_an_embedded_thumbnail_is_not_the_end(tmp_path):
    whole = saved(tmp_path / "a.jpg").read_bytes()
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(whole)) + whole
    with_thumbnail = whole[:2] + thumbnail + whole[2:]
    (tmp_path / "a.jpg").write_bytes(with_thumbnail)
    assert read_image(tmp_path / "a.jpg").shape == (6, 9, 3)
    (tmp_path / "a.jpg").write_bytes(with_thumbnail[:-10])
    with pytest.raises(UserError, match="its end marker is missing"):
        read_image(tmp_path / "a.jpg")


def test_a_wrong_checksum_of_a_comment_is_no_reason_to_refuse(tmp_path):
    """OpenCV reads such a PNG; Pillow does not."""
    path = saved(tmp_path / "a.png")
    data = path.read_bytes()
    comment = chunk(b"tEXt", b"a\0b")[:-4] + b"oops"
    path.write_bytes(data[:33] + comment + data[33:])  # behind the header
    np.testing.assert_array_equal(read_image(path), RGB)
