import os
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ssd.data.parcel import Parcel, memory_files


@dataclass
class Item:
    pixels: torch.Tensor
    boxes: np.ndarray
    names: list[str]

    def pin_memory(self):
        return Item(self.pixels + 1, self.boxes, self.names)


@pytest.fixture
def file():
    with memory_files(1) as files:
        yield files[0]


def an_item(size):
    pixels = torch.arange(size, dtype=torch.uint8)
    return Item(pixels, np.arange(3 * size, dtype=np.float32).reshape(size, 3), ["first", "second"])


def assert_equal(received, item):
    assert torch.equal(received.pixels, item.pixels)
    assert received.boxes.dtype == item.boxes.dtype
    np.testing.assert_array_equal(received.boxes, item.boxes)
    assert received.names == item.names


@pytest.mark.parametrize("size", [0, 1, 200])
def test_what_is_received_is_what_was_sent(file, size):
    item = an_item(size)
    assert_equal(Parcel.sent(item, file).received(), item)


def test_the_arrays_travel_in_the_file(file):
    parcel = Parcel.sent(an_item(200), file)
    assert parcel.lengths == [200, 200 * 3 * 4]
    assert os.fstat(file).st_size == sum(parcel.lengths)
    assert len(parcel.pickled) < 1000


def test_what_was_received_stays_when_the_file_is_used_again(file):
    first, second = an_item(200), an_item(100)
    received = Parcel.sent(first, file).received()
    received_second = Parcel.sent(second, file).received()
    assert_equal(received, first)
    assert_equal(received_second, second)


def test_the_file_is_no_larger_than_its_parcel(file):
    Parcel.sent(an_item(200), file)
    parcel = Parcel.sent(an_item(100), file)
    assert os.fstat(file).st_size == sum(parcel.lengths)


def test_tensors_of_any_layout(file):
    table = torch.arange(12).view(3, 4)
    views = [table.T, table[:, 1:3], table[1, 2], table[:0], torch.tensor([True, False])]
    received = Parcel.sent(views, file).received()
    for ours, theirs in zip(received, views, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def test_what_was_received_may_be_written_to(file):
    received = Parcel.sent(an_item(3), file).received()
    received.pixels += 1
    assert received.pixels.tolist() == [1, 2, 3]


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
