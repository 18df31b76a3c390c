import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from ssd.common.errors import UserError
from ssd.data.ring import Place, Ring
from ssd.data.workers import Workers

# Python 3.12 and newer warn whenever a process with threads forks
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

CAPACITY = 100


@dataclass
class Item:
    pixels: torch.Tensor
    names: list[str]
    boxes: torch.Tensor


@pytest.fixture
def place():
    made = Place(CAPACITY)
    yield made
    made.close()


def an_item(size, first=0):
    pixels = torch.arange(first, first + size).to(torch.uint8)
    return Item(pixels, ["first", "second"], torch.arange(3.0 * size).view(size, 3))


def assert_equal(received, item):
    for tensor, expected in ((received.pixels, item.pixels), (received.boxes, item.boxes)):
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected)
    assert received.names == item.names


def written(place, item):
    """The item as a worker makes it: its pixels are written to the place."""
    size = item.pixels.numel()
    room = place.room()
    if size > len(room):
        return item
    room[:size] = item.pixels.view(-1).numpy()
    return Item(torch.from_numpy(room[:size]).view(item.pixels.shape), item.names, item.boxes)


SIZES = [0, 1, CAPACITY - 1, CAPACITY, CAPACITY + 1, 50_000, 3, 60_000, 2]


@pytest.mark.parametrize("make", [written, lambda _place, item: item])
def test_the_parent_receives_what_a_worker_sent(place, make):
    """A place grows to its largest item, in one of the workers, and goes on with smaller ones."""
    workers = Workers(lambda _number, size: place.send(make(place, an_item(size))), SIZES, 2)
    try:
        for number, size in enumerate(SIZES):
            workers.ask(number, 0)
            assert_equal(place.receive(workers.result(number)), an_item(size))
        assert len(place.room()) == max(SIZES)  # for the others too
    finally:
        workers.close()


def test_pixels_stay_where_they_were_written(place):
    sent = written(place, an_item(60))
    place.room().flags.writeable = False
    parcel = place.send(sent)
    place.room().flags.writeable = True
    received = place.receive(parcel)
    place.room()[7] = 201
    assert sent.pixels[7] == received.pixels[7] == 201
    assert received.pixels.data_ptr() == place.room().ctypes.data


def test_all_but_the_pixels_stays_when_the_place_is_used_again(place):
    first = place.receive(place.send(an_item(60)))
    kept = first.pixels
    second = place.receive(place.send(an_item(50, first=90)))
    assert_equal(second, an_item(50, first=90))
    assert torch.equal(kept[:50], second.pixels)
    first.pixels = an_item(60).pixels
    assert_equal(first, an_item(60))


def test_pixels_of_any_shape(place):
    pixels = torch.arange(60, dtype=torch.uint8).view(4, 5, 3)
    received = place.receive(place.send(Item(pixels, [], torch.zeros(0, 4))))
    assert torch.equal(received.pixels, pixels)
    assert received.boxes.shape == (0, 4)


def test_a_place_takes_memory_only_when_it_is_needed_and_gives_it_back():
    def maps():
        return Path("/proc/self/maps").read_text().count("/memfd:images read ahead")

    files, shared, mapped = (len(os.listdir("/proc/self/fd")), os.listdir("/dev/shm"), maps())
    ring = Ring(3, 10**12)  # more than any machine has
    assert maps() == mapped
    ring.close()
    ring = Ring(3, CAPACITY)
    received = ring.places[0].receive(ring.places[0].send(an_item(40)))
    assert maps() == mapped + 1
    assert os.listdir("/dev/shm") == shared
    ring.close()
    assert_equal(received, an_item(40))  # as long as something refers to it
    del received, ring
    assert maps() == mapped
    assert len(os.listdir("/proc/self/fd")) == files


def test_no_memory_is_one_line(place, monkeypatch):
    def full(file, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"memory for .* \(No space left on .*\): lower data\.w"):
        place.room()


def test_the_place_that_has_been_free_the_longest_is_taken_next():
    ring = Ring(3, CAPACITY)
    assert [ring.take() for _ in range(3)] == [0, 1, 2]
    ring.give_back(1)
    ring.give_back(0)
    assert [ring.take(), ring.take()] == [1, 0]
    with pytest.raises(IndexError):
        ring.take()
    ring.close()


# page-locking, with a stand-in for CUDA; tests/gpu has the real one


class Cuda:
    """Locks the first `limit` pieces of memory that it is given."""

    def __init__(self, limit):
        self.limit, self.locked, self.calls = limit, {}, []

    def cudaHostRegister(self, address, size, flags):
        assert flags == 1
        self.calls.append("lock")
        if len(self.locked) == self.limit:
            return 2
        self.locked[address] = size
        return 0

    def cudaHostUnregister(self, address):
        self.calls.append("unlock")
        del self.locked[address]
        return 0

    def cudaGetErrorString(self, status):
        return {2: "out of memory"}[status]


@pytest.fixture
def cuda(monkeypatch):
    made = Cuda(limit=10)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: made)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: made.calls.append("wait"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    return made


def test_locked_is_what_the_items_are_received_in(cuda):
    ring = Ring(2, CAPACITY)
    assert ring.lock() == ""
    assert [cuda.locked[each.room().ctypes.data] for each in ring.places] == [CAPACITY] * 2
    for size in (30, 3 * CAPACITY, 20):
        received = ring.places[1].receive(ring.places[1].send(an_item(size)))
        assert (received.pixels.data_ptr() in cuda.locked) == (size <= CAPACITY)
        assert torch.equal(received.pixels, an_item(size).pixels)
        assert torch.equal(received.boxes, an_item(size).boxes + 1)  # pinned
    ring.close()
    assert cuda.calls == ["lock", "lock", "wait", "unlock", "wait", "unlock"]
    assert cuda.locked == {}


def test_memory_that_cannot_be_locked_is_used_as_it_is(cuda, monkeypatch):
    def reports_the_failure_again(*_args, **_options):
        cuda.calls.append("kernel")
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch, "ones", reports_the_failure_again)
    cuda.limit = 1
    ring = Ring(3, CAPACITY)
    assert ring.lock() == "out of memory"
    assert cuda.calls == ["lock", "lock", "kernel"]
    for each in ring.places:
        received = each.receive(each.send(an_item(30)))
        assert torch.equal(received.pixels, an_item(30).pixels)
    ring.close()
    assert cuda.locked == {}


def test_an_item_in_plain_memory_is_not_pinned(place):
    received = place.receive(place.send(an_item(30)))
    assert_equal(received, an_item(30))
    assert np.may_share_memory(received.pixels.numpy(), place.room())
