from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from ssd.augment.batch import Preprocess
from ssd.common.errors import UserError
from ssd.config import AugmentConfig
from ssd.data import dataset as dataset_module
from ssd.data.cache import HostCache, image_bytes, memory_needed, num_that_fit
from ssd.data.dataset import DetectionDataset, Request
from ssd.data.device_cache import decode_onto
from ssd.data.loader import training_steps
from ssd.data.order import Order
from ssd.data.voc import read_voc

# Python 3.12 and newer warn whenever a process with threads forks; PyTorch's loader does
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

NUM_IMAGES, EPOCH = 11, 3  # steps
DAMAGED = 6, 7, 10  # the first image stands in for the last
ORDER = Order(NUM_IMAGES, batch_size=2, accumulate=2, world_size=1, seed=5, drop_last=False)
CPU = torch.device("cpu")


@pytest.fixture
def records(voc):
    found = read_voc(voc.fill(NUM_IMAGES).root, ["trainval"], None).records
    for index in DAMAGED:
        found[index].path.write_bytes(b"")
    return found


@pytest.fixture
def open_cache(tmp_path):
    def open_it(records):
        file = tmp_path / f"memory{len(records)}"
        file.write_bytes(bytes(memory_needed(records)))
        return HostCache(records, file)

    return open_it


@pytest.fixture
def decoded(monkeypatch):
    """How often each image has been read in this process."""
    count = Counter()
    read_pixels = dataset_module.read_pixels

    def counted(record):
        count[record.image_id] += 1
        return read_pixels(record)

    monkeypatch.setattr(dataset_module, "read_pixels", counted)
    return count


def contents(records, first, last, workers=0, cache=None):
    """Everything in the micro-batches of some steps, as values that compare exactly."""
    dataset = DetectionDataset(records, train_difficult=True, cache=cache)
    steps = training_steps(dataset, ORDER, first, last, 0, workers, pin_memory=False)
    return [
        {
            name: value.tolist() if isinstance(value, torch.Tensor) else value
            for name, value in vars(batch).items()
        }
        for step in steps
        for batch in step
    ]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("num_cached", [NUM_IMAGES, 8, 1])
def test_batches_are_the_same_with_a_cache(records, open_cache, workers, num_cached):
    cache = open_cache(records[:num_cached])
    expected = contents(records, 0, 3 * EPOCH)
    assert contents(records, 0, 3 * EPOCH, workers, cache) == expected
    assert cache.num_kept == sum(index not in DAMAGED for index in range(num_cached))


@pytest.mark.parametrize("workers", [0, 2])
def test_later_epochs_read_no_file(records, open_cache, workers):
    """Nor do other processes that come later, as after an evaluation."""
    cache = open_cache(records)
    expected = contents(records, EPOCH, 3 * EPOCH)
    contents(records, 0, EPOCH, workers, cache)
    for index, record in enumerate(records):
        if index not in DAMAGED:
            record.path.unlink()
    assert contents(records, EPOCH, 3 * EPOCH, workers, cache) == expected


def test_what_is_kept_is_decoded_once_and_the_rest_in_every_epoch(records, open_cache, decoded):
    contents(records, 0, 4 * EPOCH, 0, open_cache(records[:4]))
    assert [decoded[record.image_id] for record in records[:4]] == [1, 1, 1, 1]
    assert [decoded[records[index].image_id] for index in (4, 5, 9)] == [4, 4, 4]


def test_kept_pixels_are_what_was_put_and_cannot_be_changed(records, open_cache):
    cache = open_cache(records[:3])
    pixels = {index: np.full((30, 40 + index, 3), 50 + index, np.uint8) for index in (0, 2, 5)}
    for index, image in pixels.items():
        cache.put(index, image)
    assert cache.get(1) is None
    assert cache.get(5) is None
    assert cache.num_kept == 2
    for index in (0, 2):
        np.testing.assert_array_equal(cache.get(index), pixels[index])
        with pytest.raises(ValueError, match="read-only"):
            cache.get(index)[0, 0] = 0


def test_the_first_images_that_fit_are_kept(records):
    sizes = [3 * 30 * (40 + index) for index in range(NUM_IMAGES)]
    assert image_bytes(records).tolist() == sizes
    for budget in range(0, sum(sizes) + 2000, 97):
        fit, left = 0, budget
        while fit < NUM_IMAGES and left > sizes[fit]:
            left -= sizes[fit] + 1
            fit += 1
        assert num_that_fit(records, budget) == fit
        assert memory_needed(records[:fit]) <= budget


def test_more_than_the_machine_has_is_refused(records):
    large = [replace(records[0], width=10_000_000, height=10_000_000)]
    with pytest.raises(UserError, match=r"would take 300000\.0 GB, but this .* lower data\.cache_"):
        memory_needed(large)


def test_an_unreadable_image_is_never_kept(records, open_cache):
    cache = open_cache(records)
    dataset = DetectionDataset(records, True, cache=cache)
    for _ in range(2):
        assert dataset[Request(0, 6)].image_id == "img08"
        assert len(dataset[Request(0, 6)].problems) == 2
        assert cache.get(6) is None


# the device's


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("engine", ["device", "none"])
def test_a_device_cache_makes_the_same_batches(records, workers, engine):
    dataset = DetectionDataset(records, train_difficult=True)
    cache = decode_onto(CPU, dataset, 10**6, workers, show_progress=False)
    preprocess = Preprocess(32, (120, 115, 100), (58, 57, 56), antialias=True)
    config = AugmentConfig(engine=engine)
    expected = training_steps(dataset, ORDER, 1, 2 * EPOCH, 0, 0, pin_memory=False)
    for ours, theirs in zip(cache.steps(ORDER, 1, 2 * EPOCH, 0), expected, strict=True):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            assert our.pixels is cache.samples.pixels
            assert (our.image_ids, our.problems) == (their.image_ids, their.problems)
            assert torch.equal(our.epochs, their.epochs)
            one, other = (preprocess.training_batch(each, 3, config) for each in (our, their))
            for name in ("images", "boxes", "labels"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_a_rank_without_images_gets_an_empty_micro_batch(records):
    dataset = DetectionDataset(records, train_difficult=True)
    ours = decode_onto(CPU, dataset, 10**6, 0, show_progress=False).micro_batch([], epoch=2)
    assert (len(ours.sizes), ours.boxes.shape, ours.image_ids) == (0, (0, 1, 4), [])


def test_a_device_cache_that_does_not_fit_is_refused(records):
    dataset, needed = DetectionDataset(records, True), int(image_bytes(records).sum())
    decode_onto(CPU, dataset, needed, 0, show_progress=False)
    with pytest.raises(UserError, match=r"takes 0\.00 GB .* data\.cache_gb is .*: raise it"):
        decode_onto(CPU, dataset, needed - 1, 0, show_progress=False)


def test_a_device_cache_of_no_readable_image_is_refused(records):
    damaged = [records[index] for index in DAMAGED]
    with pytest.raises(UserError, match=r"none of 3 images is readable; .*img06\.jpg: image is em"):
        decode_onto(CPU, DetectionDataset(damaged, True), 10**6, 1, show_progress=False)
