"""Prefetch and device cache on a CUDA device: `pytest -m gpu tests/gpu`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssd.augment.batch import Preprocess
from ssd.common.errors import UserError
from ssd.config import AugmentConfig, DataConfig
from ssd.data.dataset import DetectionDataset, Request
from ssd.data.device_cache import decode_onto
from ssd.data.loader import training_steps
from ssd.data.order import Order
from ssd.data.shapes import draw_shapes
from ssd.data.voc import read_voc
from ssd.structures import to_device
from ssd.training.feed import Feed
from ssd.training.graphed_batches import GraphedBatches
from ssd.training.prefetch import prefetch

# Python 3.12 and newer warn whenever a process with threads forks; PyTorch's loader does
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]

CUDA = torch.device("cuda")
STEPS, DAMAGED = 12, 5
ORDER = Order(22, batch_size=4, accumulate=2, world_size=1, seed=1, drop_last=False)
PREPROCESS = Preprocess(300, (123, 117, 104), (58, 57, 57), antialias=True)
FIELDS = "images", "boxes", "labels"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    draw_shapes(root, 22, 1, seed=1)
    records = read_voc(root, ["trainval"], None).records
    records[DAMAGED].path.write_bytes(b"")
    return DetectionDataset(records, train_difficult=True)


@pytest.fixture(scope="module")
def cache(dataset):
    return decode_onto(CUDA, dataset, 10**9, workers=0, show_progress=False)


def make_batch(samples):
    return PREPROCESS.training_batch(samples, 7, AugmentConfig())


def make_batches(samples):
    return [make_batch(to_device(packed, CUDA)) for packed in samples]


def pinned_steps(dataset, workers=0):
    return training_steps(dataset, ORDER, 0, STEPS, 0, workers, pin_memory=True)


@pytest.fixture(scope="module")
def expected(dataset):
    """The batches as made one after the other, without a stream, on the host."""
    made = []
    for samples in training_steps(dataset, ORDER, 0, STEPS, 0, 0, pin_memory=False):
        batches = make_batches(samples)
        torch.cuda.synchronize()
        made.append([{name: getattr(b, name).cpu() for name in FIELDS} for b in batches])
    return made


def read_late(ready):
    """Copies of the batches, made after other work, when the consumer has let go of them.

    The next step wants memory of the same size on the side stream. Were a batch's given away as
    soon as the host has let go of it, it would be overwritten before it is read.
    """
    kept = []
    for step in ready:
        torch.cuda._sleep(50_000_000)  # some ten milliseconds
        kept.append([{name: getattr(b, name).clone() for name in FIELDS} for b in step.batches])
        del step
    torch.cuda.synchronize()
    return [[{name: value.cpu() for name, value in b.items()} for b in step] for step in kept]


def assert_same(found, expected):
    assert len(found) == len(expected) == STEPS
    for ours, theirs in zip(found, expected, strict=True):
        for our, their in zip(ours, theirs, strict=True):
            for name in FIELDS:
                assert torch.equal(our[name], their[name]), name


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_survive_a_slow_consumer_and_scarce_memory(dataset, expected, workers):
    assert_same(read_late(prefetch(pinned_steps(dataset, workers), make_batches, CUDA)), expected)


@pytest.mark.parametrize("kept", ["on the host", "on the device"])
def test_graphs_make_the_same_batches_but_for_padding(dataset, cache, expected, kept):
    """The last step of each epoch has a smaller batch."""
    steps = pinned_steps(dataset) if kept == "on the host" else cache.steps(ORDER, 0, STEPS, 0)
    graphed = GraphedBatches(make_batch, CUDA, pytest.fail)
    for ours, theirs in zip(read_late(prefetch(steps, graphed, CUDA)), expected, strict=True):
        for our, their in zip(ours, theirs, strict=True):
            count = their["labels"].shape[1]
            assert not our["labels"][:, count:].any()
            first = {name: our[name][:, :count] for name in ("boxes", "labels")}
            for name, value in (first | {"images": our["images"]}).items():
                assert torch.equal(value, their[name]), name


def test_the_device_cache_makes_the_same_batches(cache, expected):
    steps = cache.steps(ORDER, 0, STEPS, 0)
    assert_same(read_late(prefetch(steps, make_batches, CUDA)), expected)


def test_auto_keeps_a_small_set_on_the_device(dataset, expected):
    feed = Feed(dataset.records, DataConfig(workers=0), AugmentConfig(), PREPROCESS, 7, CUDA)
    assert feed.cache_line.startswith("cuda holds all 22 images, ")
    assert feed.cache_line.endswith(" (data.cache auto)")
    assert feed.dataset.cache is None
    assert_same(read_late(feed.steps(ORDER, 0, STEPS)), expected)


def test_auto_keeps_it_on_the_host_where_the_device_has_no_room(dataset, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 10**12))
    feed = Feed(dataset.records, DataConfig(workers=0), AugmentConfig(), PREPROCESS, 7, CUDA)
    assert feed.device_cache is None
    assert feed.cache_line.startswith("host memory keeps all 22 images, ")


def test_the_device_cache_is_read_where_it_is(cache):
    batch = cache.micro_batch([3, DAMAGED, 8], epoch=1)
    assert batch.pixels.data_ptr() == cache.samples.pixels.data_ptr()
    assert batch.offsets.is_cuda
    assert len(batch.problems) == 1
    assert batch.image_ids[1] == cache.samples.image_ids[DAMAGED + 1]


def test_the_next_step_is_made_while_the_current_one_computes(dataset):
    """While the consumer's stream is busy, the side stream comes to its end."""
    packed = list(pinned_steps(dataset))
    for _ in prefetch((step for step in packed), make_batches, CUDA):
        pass  # compiled, and all memory is there
    torch.cuda.synchronize()
    ready = prefetch((step for step in packed), make_batches, CUDA)
    next(ready)
    torch.cuda._sleep(2_000_000_000)  # about a second
    busy = torch.cuda.current_stream().record_event()
    next(ready)  # starts the third
    ready.close()  # waits for the side stream
    assert not busy.query()
    torch.cuda.synchronize()


def test_a_device_cache_larger_than_the_device_is_refused(dataset):
    huge = [replace(r, width=10_000, height=10_000) for r in dataset.records[:1]] * 10_000
    with pytest.raises(UserError, match=r"takes 3000\.00 GB .*, but cuda .* free memory"):
        decode_onto(CUDA, DetectionDataset(huge, True), 10**13, 0, show_progress=False)


def test_every_byte_of_the_cache_is_the_decoders(dataset, cache):
    for index in range(len(dataset)):
        if index != DAMAGED:
            expected = dataset[Request(0, index)].pixels.ravel()
            start = int(cache.samples.offsets[index])
            found = cache.samples.pixels[start : start + expected.size].cpu().numpy()
            np.testing.assert_array_equal(found, expected)
