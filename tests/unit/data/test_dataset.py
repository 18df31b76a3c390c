import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssd.common.errors import UserError
from ssd.data.dataset import DetectionDataset, Request, pack
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
    assert dataset[Request(0, 1)].problems == ("",)
    unreadable = dataset[Request(0, 2)]
    assert unreadable.image_id == "c"
    assert unreadable.problems == (f"{five[2].path}: image is empty",)


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
