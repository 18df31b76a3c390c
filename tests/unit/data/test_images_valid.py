"""The images of a step stay valid until the second step after it is asked for."""

import multiprocessing
import random
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ssd.common.errors import UserError
from ssd.data import loader
from ssd.data.cache import HostCache, memory_needed
from ssd.data.dataset import DetectionDataset
from ssd.data.loader import evaluation_batches, room_for, training_steps
from ssd.data.order import Order
from ssd.data.ring import Ring
from ssd.structures import Record

# Python 3.12 and newer warn whenever a process with threads forks
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

NUM_IMAGES, STEPS = 11, 15
UNREADABLE = 4, 8
MARK = 165


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Noise of many sizes; two images cannot be read, and others stand in for them."""
    rng, found = np.random.default_rng(0), []
    root = tmp_path_factory.mktemp("images")
    for index in range(NUM_IMAGES):
        path = root / f"{index}.png"
        height, width = rng.integers(1, 40, 2).tolist()
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        boxes = np.tile(np.array([[0, 0, width, height]], np.float32), (index % 4, 1))
        flags = np.zeros(len(boxes), np.bool_)
        labels = np.arange(1, len(boxes) + 1)
        found.append(Record(f"{index}", path, width, height, boxes, labels, flags, flags))
    for index in UNREADABLE:
        found[index].path.write_bytes(b"")
    return found


@pytest.fixture
def marked(monkeypatch):
    """Overwrites a place when it is given back, before anybody else can use it."""
    give_back = Ring.give_back

    def overwrite(ring, number):
        ring.places[number].room()[:] = MARK
        give_back(ring, number)

    monkeypatch.setattr(Ring, "give_back", overwrite)


def late(steps, rng, found=None):
    """The contents of all steps, each read when the next step has been asked for and not before."""
    found, held = [] if found is None else found, None
    with closing(steps):
        for step in steps:
            if held is not None:
                found.append(contents(held))
            held = step
            if rng.random() < 0.3:
                time.sleep(rng.random() * 0.01)
    return [*found, contents(held)]


def contents(step):
    return [
        {
            name: value.tolist() if isinstance(value, torch.Tensor) else value
            for name, value in vars(batch).items()
        }
        for batch in step
    ]


def slow(sample):
    """Takes up to some milliseconds."""
    time.sleep(random.Random().random() ** 4 * 0.01)
    return sample


def changing(sample):
    """Makes some images too large for their place, and others smaller."""
    times = [1, 1, 3, 10][(sample.key + sample.epoch) % 4]
    larger = sample.pixels.repeat(times, axis=0)
    return slow(replace(sample, pixels=larger[::-1] if times > 1 else larger[: 1 + sample.key % 3]))


def training(records, rng, workers, accumulate, transform):
    size = rng.choice([1, 2, 3])
    order = Order(NUM_IMAGES, size, accumulate, 1, seed=rng.randrange(99), drop_last=False)
    dataset = DetectionDataset(records, train_difficult=True, transform=transform)
    return lambda count: training_steps(dataset, order, 0, STEPS, 0, count, pin_memory=False)


@pytest.mark.parametrize("transform", [slow, changing])
@pytest.mark.parametrize("seed", range(16))
def test_no_step_is_overwritten_too_early(records, marked, seed, transform):
    rng = random.Random(seed)
    workers, accumulate = 1 + seed % 4, 1 + seed // 4 % 3
    steps = training(records, rng, workers, accumulate, transform)
    assert late(steps(workers), rng) == late(steps(0), rng)


@pytest.mark.parametrize("transform", [slow, changing])
def test_a_place_that_is_given_back_too_early_is_seen(records, marked, monkeypatch, transform):
    """The test above can fail."""
    rng = random.Random(0)
    steps = training(records, rng, 2, 2, transform)
    expected = late(steps(0), rng)
    monkeypatch.setattr(loader, "VALID", 1)
    found = late(steps(2), rng)
    for step, its_images in enumerate(expected[:-1]):
        assert found[step] != its_images  # the mark or, since, what a worker has written


@pytest.mark.parametrize("seed", range(8))
def test_no_evaluation_batch_is_overwritten_too_early(records, marked, seed):
    rng = random.Random(seed)
    dataset = DetectionDataset(5 * records, train_difficult=True, transform=slow)
    size, workers = rng.choice([1, 3, 4]), rng.choice([1, 2, 5])

    def batches(count):
        for batch in evaluation_batches(dataset, size, count, pin_memory=False):
            yield [batch]

    assert late(batches(workers), rng) == late(batches(0), rng)


@pytest.mark.parametrize("seed", range(8))
def test_every_step_before_a_worker_is_killed_is_right(records, marked, seed):
    rng = random.Random(seed)
    workers, killed_at = 1 + seed % 3, rng.randrange(6)
    before = set(multiprocessing.active_children())
    steps = training(records, rng, workers, 1, changing)
    expected = late(steps(0), rng)

    def killing(stream):
        with closing(stream):
            for number, step in enumerate(stream):
                if number == killed_at:
                    victim = rng.choice(list(set(multiprocessing.active_children()) - before))
                    victim.kill()
                    victim.join()  # on a busy machine it ends later than the others' tasks
                yield step

    found = []
    with pytest.raises(UserError, match=r"a worker was killed by SIGKILL"):
        late(killing(steps(workers)), rng, found)
    assert killed_at <= len(found) < STEPS - 1
    assert found == expected[: len(found)]
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize("workers", [1, 3])
def test_images_of_a_host_cache_stay_as_they_are(records, marked, tmp_path, workers):
    file = tmp_path / "memory"
    file.write_bytes(bytes(memory_needed(records)))
    cache, rng = HostCache(records, file), random.Random(0)
    order = Order(NUM_IMAGES, 2, 2, 1, seed=3, drop_last=False)

    def steps(count, dataset):
        return training_steps(dataset, order, 0, STEPS, 0, count, pin_memory=False)

    expected = late(steps(0, DetectionDataset(records, True)), rng)
    assert late(steps(workers, DetectionDataset(records, True, cache=cache)), rng) == expected
    kept = DetectionDataset(records, True, cache=cache)
    assert late(steps(0, kept), rng) == expected


@pytest.mark.parametrize(
    ("workers", "accumulate", "places"), [(1, 1, 4), (2, 1, 6), (2, 3, 10), (5, 1, 11), (16, 1, 22)]
)
def test_the_number_of_places(records, monkeypatch, workers, accumulate, places):
    made = []
    monkeypatch.setattr(loader, "Ring", lambda count, size: made.append(count) or Ring(count, size))
    rng = random.Random(0)
    steps = training(records, rng, workers, accumulate, None)(workers)
    next(steps)
    steps.close()
    assert made == [places]


def test_a_place_has_room_for_the_largest_images_or_twice_the_average(records):
    def of_sizes(*sizes):
        return [replace(records[0], width=size, height=1) for size in sizes]

    assert room_for(of_sizes(10, 30, 20, 25), 2) == 3 * (30 + 25)
    assert room_for(of_sizes(10, 30, 20, 25), 100) == 3 * (10 + 30 + 20 + 25)
    assert room_for(of_sizes(*[10] * 98, 1000, 2000), 2) == int(3 * 2 * 2 * 39.8)
    assert room_for(of_sizes(), 3) == room_for(of_sizes(5), 0) == 1


def test_memory_that_cannot_be_locked_is_told_once(records, monkeypatch, capsys):
    monkeypatch.setattr(Ring, "lock", lambda ring: "out of memory")
    loader._tell.cache_clear()
    order = Order(NUM_IMAGES, 2, 1, 1, seed=3, drop_last=False)
    for _ in range(2):
        dataset = DetectionDataset(records, train_difficult=True)
        steps = training_steps(dataset, order, 0, STEPS, 0, 1, pin_memory=True)
        plain = training_steps(dataset, order, 0, STEPS, 0, 0, pin_memory=False)
        assert late(steps, random.Random(0)) == late(plain, random.Random(0))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("warning: host memory cannot be page-locked (out of memory), so ")
