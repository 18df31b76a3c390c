"""Formats, modes and depths of image files, held against Pillow or against the values written."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from ssd.common.errors import UserError
from ssd.data import image
from ssd.data.headers import read_headers
from ssd.data.image import read_image
from ssd.data.image_header import Header
from ssd.data.png import without_profile

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 9, 3), np.uint8)
WIDE = RNG.integers(0, 65536, (6, 9, 3), np.uint16)
MODES = {
    "png": ["RGB", "RGBA", "L", "LA", "P", "1"],
    "bmp": ["RGB", "L", "P", "1"],
    "tiff": ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"],
    "webp": ["RGB", "RGBA"],
    "gif": ["P", "L", "1"],
}
KINDS = [(suffix, mode) for suffix, modes in MODES.items() for mode in modes]

# The numbers of TIFF's tags.
BITS, STRIP, ORIENTATION, BYTES, LARGEST_VALUE, SAMPLE_FORMAT = 258, 273, 274, 279, 281, 339
WHOLE_NUMBERS, SIGNED, FLOATS = 1, 2, 3


def tiff(pixels, bits, packed=None, orientation=1, sample_format=WHOLE_NUMBERS, **more):
    """A TIFF of one strip, of pixels [H, W] or [H, W, 3]."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else 3
    content = packed or pixels.tobytes()
    tags = {256: width, 257: height, BITS: bits, 259: 1, 262: 1 if channels == 1 else 2}
    tags |= {STRIP: 0, ORIENTATION: orientation, 277: channels, 278: height, BYTES: len(content)}
    tags |= {SAMPLE_FORMAT: sample_format}
    tags |= {LARGEST_VALUE: more["largest"]} if "largest" in more else {}
    end = 8 + 2 + 12 * len(tags) + 4
    tags[STRIP] = end + 6
    entries = b""
    for tag, value in sorted(tags.items()):
        if tag == BITS and channels == 3:
            entries += struct.pack("<HHII", tag, 3, 3, end)
        else:
            entries += struct.pack("<HHII", tag, 4 if tag in (STRIP, BYTES) else 3, 1, value)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<3H", *[bits] * 3) + content


@pytest.mark.parametrize(("suffix", "mode"), KINDS)
def test_every_mode_is_read_as_pillow_converts_it(tmp_path, suffix, mode):
    written = Image.fromarray(RGB).convert(mode)
    path = tmp_path / f"a.{suffix}"
    written.save(path, **({"lossless": True} if suffix == "webp" else {}))
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels, np.asarray(written.convert("RGB")))
    assert (pixels.dtype, pixels.flags.c_contiguous) == (np.uint8, True)
    assert read_headers([path]) == [Header(9, 6)]


def test_the_first_frame_of_a_gif_is_taken(tmp_path):
    first, second = Image.fromarray(RGB).convert("P"), Image.fromarray(RGB[::-1]).convert("P")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), first.convert("RGB"))


@pytest.mark.parametrize("suffix", ["gif", "webp", "tiff"])
def test_pillow_reads_what_an_older_opencv_cannot(tmp_path, monkeypatch, suffix):
    written = Image.fromarray(RGB).convert("L")
    written.save(tmp_path / "a.any", suffix, **({"lossless": True} if suffix == "webp" else {}))
    monkeypatch.setattr(image, "_decoded_by_opencv", lambda data: None)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.any"), np.asarray(written.convert("RGB"))
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_values_of_a_png_keep_the_upper_byte(tmp_path, channels):
    values = WIDE[..., ::-1] if channels == 3 else WIDE[..., 0]
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", values)[1].tobytes())
    expected = WIDE if channels == 3 else np.repeat(WIDE[..., :1], 3, 2)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected >> 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_values_of_a_tiff(tmp_path, channels, orientation):
    """OpenCV 5.0 leaves those of three channels uninitialised if it has to make them RGB."""
    path = tmp_path / "a.tif"
    values = WIDE if channels == 3 else WIDE[..., 0]
    path.write_bytes(tiff(np.ascontiguousarray(values), 16, orientation=orientation))
    upper = (WIDE if channels == 3 else np.repeat(WIDE[..., :1], 3, 2)) >> 8
    turned = turned_by_pillow(upper.astype(np.uint8), orientation)
    np.testing.assert_array_equal(read_image(path), turned)
    height, width = turned.shape[:2]
    assert read_headers([path]) == [Header(width, height, is_deep=True)]


def turned_by_pillow(pixels, orientation):
    stored = Image.fromarray(pixels)
    stored.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(stored))


def test_a_tiff_may_say_how_deep_its_values_are(tmp_path):
    path, values = tmp_path / "a.tif", WIDE >> 4
    path.write_bytes(tiff(values, 16, largest=4095))
    np.testing.assert_array_equal(read_image(path), WIDE >> 8)
    path.write_bytes(tiff(WIDE >> 6, 16, largest=1023))
    np.testing.assert_array_equal(read_image(path), WIDE >> 8)


@pytest.mark.parametrize("more", [{}, {"largest": 4095}])
def test_packed_values_of_12_bits(tmp_path, more):
    values = (WIDE[:, :8, 0] >> 4).astype(int)
    first, second = values[:, 0::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values, 12, packed.astype(np.uint8).tobytes(), **more))
    np.testing.assert_array_equal(read_image(path)[..., 0], values >> 4)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_12_bits_in_16_without_a_word_are_a_choice(tmp_path, suffix):
    values = np.minimum(WIDE >> 4, 4000)
    values[0, 0] = 4000
    path = tmp_path / f"a.{suffix}"
    encoded = cv2.imencode(".png", values)[1].tobytes()
    path.write_bytes(tiff(values, 16) if suffix == "tif" else encoded)
    told = f"{path}: image has values of 16 bits, but none above 4000, which would be nearly black"
    for found in (refused(path), read_headers([path])[0]):
        assert str(found).startswith(told)
        assert str(found).endswith("convert it to 8 bits, or give a TIFF its MaxSampleValue")


def test_a_black_image_of_16_bits_is_black(tmp_path):
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", WIDE * 0)[1].tobytes())
    assert not read_image(tmp_path / "a.png").any()


@pytest.mark.parametrize(
    ("values", "bits", "sample_format"),
    [
        (WIDE[..., 0].astype(np.float32), 32, FLOATS),
        (WIDE.astype(np.float32), 32, FLOATS),
        (WIDE[..., 0].astype(np.int32), 32, SIGNED),
        (WIDE[..., 0].astype(np.int16), 16, SIGNED),
    ],
)
def test_values_that_no_rule_shows_in_8_bits(tmp_path, values, bits, sample_format):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values, bits, sample_format=sample_format))
    told = f"{path}: image has values of type {values.dtype}: convert it to 8 bits"
    assert str(refused(path)) == str(read_headers([path])[0]) == told


def refused(path):
    with pytest.raises(UserError) as error:
        read_image(path)
    return error.value


def big_tiff(width, height):
    """A BigTIFF's header, which claims a size."""
    tags = [(256, width), (257, height), (BITS, 8), (277, 1)]
    entries = b"".join(struct.pack("<HHQQ", tag, 4, 1, value) for tag, value in tags)
    return b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(tags)) + entries + bytes(8)


def wide_tiff(width, height):
    empty = tiff(np.zeros((height, 0), np.uint8), 8)
    return empty.replace(*(struct.pack("<HHII", 256, 3, 1, value) for value in (0, width)))


def webp(width, height):
    """A lossless WebP's header, which claims a size."""
    size = struct.pack("<I", (width - 1) | (height - 1) << 14)
    chunk = b"VP8L" + struct.pack("<I", 10) + b"\x2f" + size + bytes(5)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (big_tiff(60_000, 50_000), "60000x50000, but at most 100000000 pixels"),
        (wide_tiff(30_000, 20_000), "30000x20000, but at most 100000000 pixels"),
        (webp(16_000, 16_000), "too large to be decoded: make it smaller"),
    ],
)
def test_a_bomb_of_another_format_is_refused_by_its_header(tmp_path, monkeypatch, data, told):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    monkeypatch.setattr(image, "_decoded_by_opencv", lambda data: sys.exit("decoded"))
    monkeypatch.setattr(image, "_decoded_by_pillow", lambda data: sys.exit("decoded"))
    assert told in str(refused(path))
    assert told in str(read_headers([path])[0])


def test_a_png_that_pillow_refuses_is_measured_before_it_is_decoded(tmp_path, monkeypatch):
    """A wrong checksum of a comment; the header claims more pixels than are allowed."""
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG")
    data = buffer.getvalue()
    size = struct.pack(">II", 30_000, 30_000) + data[24:29]
    header = data[:16] + size + struct.pack(">I", zlib.crc32(b"IHDR" + size))
    comment = struct.pack(">I", 3) + b"tEXta\0boops"
    (tmp_path / "a.png").write_bytes(header + comment + data[33:])
    monkeypatch.setattr(image, "_decoded_by_opencv", lambda data: sys.exit("decoded"))
    assert "30000x30000, but at most" in str(refused(tmp_path / "a.png"))


def test_a_profile_that_libpng_dislikes_is_read_in_silence(tmp_path, capfd):
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path, icc_profile=b"no profile", dpi=(72, 72))
    whole = path.read_bytes()
    cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    assert "libpng warning: iCCP" in capfd.readouterr().err
    np.testing.assert_array_equal(read_image(path), RGB)
    assert capfd.readouterr().err == ""
    start = whole.index(b"iCCP") - 4
    end = whole.index(b"pHYs") - 4
    assert without_profile(whole) == whole[:start] + whole[end:]
    for count in range(start):  # cut off before it
        assert without_profile(whole[:count]) == whole[:count]
