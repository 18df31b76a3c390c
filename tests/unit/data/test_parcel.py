import os
from dataclasses import dataclass

import pytest
import torch

from ssd.data.parcel import Parcel, memory_files


@dataclass
class Item:
    pixels: torch.Tensor
    names: list[str]
    boxes: torch.Tensor

    def pin_memory(self):
        return Item(self.pixels + 1, self.names, self.boxes)


@pytest.fixture
def file():
    with memory_files(1) as files:
        yield files[0]


def an_item(size):
    pixels = torch.arange(size, dtype=torch.uint8)
    return Item(pixels, ["first", "second"], torch.arange(3.0 * size).view(size, 3))


def assert_equal(received, item):
    for tensor, expected in ((received.pixels, item.pixels), (received.boxes, item.boxes)):
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected)
    assert received.names == item.names


@pytest.mark.parametrize("size", [0, 1, 200])
def test_what_is_received_is_what_was_sent(file, size):
    item = an_item(size)
    assert_equal(Parcel.sent(item, file).received(), item)


def test_the_tensors_travel_in_the_file(file):
    parcel = Parcel.sent(an_item(200), file)
    assert parcel.item == Item(None, ["first", "second"], None)
    assert os.fstat(file).st_size == 200 + 200 * 3 * 4


def test_what_was_received_stays_when_the_file_is_used_again(file):
    first, second = an_item(200), an_item(100)
    received = Parcel.sent(first, file).received()
    received_second = Parcel.sent(second, file).received()
    assert_equal(received, first)
    assert_equal(received_second, second)


def test_the_file_is_no_larger_than_its_parcel(file):
    Parcel.sent(an_item(200), file)
    Parcel.sent(an_item(100), file)
    assert os.fstat(file).st_size == 100 + 100 * 3 * 4


TABLE = torch.arange(12).view(3, 4)


@pytest.mark.parametrize(
    "tensor",
    [TABLE.T, TABLE[:, 1:3], TABLE[1, 2], TABLE[:0], TABLE > 5, TABLE.to(torch.bfloat16)],
)
def test_tensors_of_any_layout(file, tensor):
    item = Item(tensor, [], TABLE)
    assert_equal(Parcel.sent(item, file).received(), item)


def test_the_loader_pins_what_was_received(file):
    item = an_item(20)
    assert_equal(Parcel.sent(item, file).pin_memory(), item.pin_memory())


def test_the_system_may_write_and_read_less_than_was_asked(file, monkeypatch):
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda file, view, at: write(file, view[:7], at))
    monkeypatch.setattr(os, "preadv", lambda file, views, at: read(file, [views[0][:5]], at))
    item = an_item(20)
    assert_equal(Parcel.sent(item, file).received(), item)


def test_the_memory_is_given_back():
    with memory_files(3) as files:
        assert len(set(files)) == 3
    for file in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)
