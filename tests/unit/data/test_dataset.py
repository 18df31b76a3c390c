import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ssd.common.errors import UserError
from ssd.data.dataset import DetectionDataset, Request, pack, read_image
from ssd.data.voc import read_voc
from ssd.structures import Record

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def record_of(path: Path, width: int = 9, height: int = 6) -> Record:
    return Record(
        image_id=path.stem,
        path=path,
        width=width,
        height=height,
        boxes=np.array([[0, 0, 5, 5], [1, 1, 4, 3]], np.float32),
        labels=np.array([1, 2]),
        difficult=np.array([False, True]),
        crowd=np.zeros(2, np.bool_),
    )


def saved(path: Path, pixels: np.ndarray = RGB, mode: str = "RGB", **options: object) -> Path:
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.fixture
def five(tmp_path):
    """Five readable PNGs of 9x6 pixels, each with one object and one difficult object."""
    paths = [
        saved(tmp_path / f"{name}.png", np.roll(RGB, shift)) for shift, name in enumerate("abcde")
    ]
    return [record_of(path) for path in paths]


# decoding


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


def test_16_bit_keeps_the_upper_byte(tmp_path):
    wide = RGB.astype(np.uint16) * 256 + 17
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", wide[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


def test_cmyk(tmp_path):
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    path = saved(tmp_path / "a.jpg", flat, mode="CMYK", quality=95)
    assert np.abs(read_image(path).astype(int) - flat).max() <= 3


def test_exif_rotation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees"
    path = saved(tmp_path / "a.jpg", exif=exif)
    assert read_image(path).shape == (6, 9, 3)


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
    return b"BM" + bytes(12) + struct.pack("<iii", 40, 20000, -20000) + bytes(100)


PNG_OF_NOTHING = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 9, 6) + b"IEND"


def old_bmp(width: int, height: int) -> bytes:
    """OS/2's header: read as Windows', its width is negative and hides the size."""
    return b"BM" + bytes(12) + struct.pack("<IHHHH", 12, width, height, 1, 24) + bytes(100)


def lone_marker_jpeg() -> bytes:
    """A marker without a length, D0: whoever reads one misses the frame, and finds a small one."""
    frame = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, 30000, 30000) + b"\1\1\x11\0"
    small = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, 6, 9) + b"\1\1\x11\0"
    comment = b"\xff\xfe\xff\xff" + small * 5041
    return b"\xff\xd8\xff\xd0" + frame + comment + b"\xff\xda\xff\xd9"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "image is empty"),
        (b"GIF89a and more", "image is neither JPEG nor PNG nor BMP"),
        (b"\xff\xd8\xff", "image is cut off or its header is broken"),
        (b"\x89PNG\r\n\x1a\n", "image is cut off or its header is broken"),
        (b"BM", "image is cut off or its header is broken"),
        (huge_bmp(), "image is 20000x20000, more than 100000000 pixels are refused"),
        (b"\xff\xd8\xff\xda garbage \xff\xd9", "image is cut off or its header is broken"),
        (PNG_OF_NOTHING, "image is damaged and cannot be decoded"),
        (old_bmp(30000, 33000), "image is 30000x33000, more than 100000000 pixels are refused"),
        (
            lone_marker_jpeg(),
            "image is 30000x30000, more than 100000000 pixels are refused",
        ),
    ],
)
def test_unreadable_files_are_told(tmp_path, data, told):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: {told}"


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"a\.jpg: the image cannot be opened \(No such file"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_every_truncation_is_found(tmp_path, suffix):
    noise = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    path = saved(tmp_path / f"a.{suffix}", noise)
    data = path.read_bytes()
    # a PNG only lacks the checksum of its empty last chunk when up to four bytes are gone
    for length in range(0, len(data) - (4 if suffix == "png" else 0), 7):
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


# samples


def test_a_sample_holds_the_image_and_its_objects(five):
    sample = DetectionDataset(five, train_difficult=True)[Request(epoch=3, image_index=1)]
    np.testing.assert_array_equal(sample.pixels, np.roll(RGB, 1))
    np.testing.assert_array_equal(sample.boxes, five[1].boxes)
    assert sample.labels.tolist() == [1, 2]
    assert (sample.image_id, sample.key, sample.epoch) == ("b", zlib.crc32(b"b"), 3)
    assert sample.problems == ()


def test_difficult_objects_can_be_left_out(five):
    sample = DetectionDataset(five, train_difficult=False)[Request(0, 0)]
    assert sample.labels.tolist() == [1]
    assert sample.boxes.tolist() == [[0, 0, 5, 5]]


def test_the_next_readable_image_stands_in(five):
    five[3].path.write_bytes(b"")
    five[4].path.unlink()
    sample = DetectionDataset(five, train_difficult=True)[Request(2, 3)]
    assert (sample.image_id, sample.key, sample.epoch) == ("a", zlib.crc32(b"a"), 2)
    assert [problem.split(":")[0] for problem in sample.problems] == [
        str(five[3].path),
        str(five[4].path),
    ]


def test_a_size_other_than_the_annotation_says_is_a_problem(five):
    five[0] = replace(five[0], width=6, height=9)
    sample = DetectionDataset(five, train_difficult=True)[Request(0, 0)]
    assert sample.image_id == "b"
    told = f"{five[0].path}: image is 9x6, its annotation says 6x9"
    assert sample.problems == (told,)


def test_strict_never_swaps_images(five):
    five[2].path.write_bytes(b"")
    dataset = DetectionDataset(five, train_difficult=True, strict=True)
    assert dataset[Request(0, 1)].image_id == "b"
    with pytest.raises(UserError, match=r"c\.png: image is empty"):
        dataset[Request(0, 2)]


def test_no_readable_image_at_all(five):
    for record in five:
        record.path.write_bytes(b"")
    with pytest.raises(UserError, match=r"none of 5 images is readable; .*d\.png: image is empty"):
        DetectionDataset(five, train_difficult=True)[Request(0, 3)]


# packing


def test_pack_holds_every_sample(voc):
    voc.fill(3)
    dataset = DetectionDataset(read_voc(voc.root, ["trainval"], None).records, train_difficult=True)
    samples = [dataset[Request(5, index)] for index in (2, 0, 1)]
    packed = pack(samples)
    assert packed.boxes.shape == (3, 2, 4)
    assert packed.sizes.tolist() == [[30, 42], [30, 40], [30, 41]]
    assert packed.image_ids == ["img02", "img00", "img01"]
    assert packed.epochs.tolist() == [5, 5, 5]
    assert packed.keys.tolist() == [sample.key for sample in samples]
    for row, sample in enumerate(samples):
        count, height, width = len(sample.labels), *packed.sizes[row].tolist()
        start = int(packed.offsets[row])
        pixels = packed.pixels[start : start + 3 * height * width].reshape(height, width, 3)
        np.testing.assert_array_equal(pixels.numpy(), sample.pixels)
        np.testing.assert_array_equal(packed.boxes[row, :count].numpy(), sample.boxes)
        np.testing.assert_array_equal(packed.labels[row, :count].numpy(), sample.labels)
        assert not packed.boxes[row, count:].any()
        assert not packed.labels[row, count:].any()
    assert len(packed.pixels) == sum(sample.pixels.size for sample in samples)


def test_pack_of_nothing_has_the_same_types(five):
    some = pack([DetectionDataset(five, train_difficult=True)[Request(0, 0)]])
    none = pack([])
    assert none.boxes.shape == (0, 1, 4)
    assert none.labels.shape == (0, 1)
    assert none.sizes.shape == (0, 2)
    assert none.image_ids == none.problems == []
    for name, value in vars(some).items():
        if isinstance(value, torch.Tensor):
            assert getattr(none, name).dtype == value.dtype, name
            assert getattr(none, name).shape[0] == 0, name


def test_pack_collects_the_problems_and_pads_to_at_least_one_box(five):
    five[0].path.write_bytes(b"")
    five[1] = replace(
        five[1],
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        difficult=np.zeros(0, np.bool_),
        crowd=np.zeros(0, np.bool_),
    )
    dataset = DetectionDataset(five, train_difficult=True)
    packed = pack([dataset[Request(0, 0)], dataset[Request(0, 1)]])
    assert packed.boxes.shape == (2, 1, 4)
    assert packed.image_ids == ["b", "b"]
    assert packed.problems == [f"{five[0].path}: image is empty"]
