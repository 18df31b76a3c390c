"""The page-locked ring of the workers, on a CUDA device: `pytest -m gpu tests/gpu`."""

from contextlib import closing

import numpy as np
import pytest
import torch

from ssd.common.tensors import tensors_of
from ssd.data.dataset import DetectionDataset
from ssd.data.loader import evaluation_batches, training_steps
from ssd.data.order import Order
from ssd.data.page_lock import page_lock, page_unlock
from ssd.data.shapes import draw_shapes
from ssd.data.voc import read_voc
from ssd.structures import to_device

# Python 3.12 and newer warn whenever a process with threads forks
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]

CUDA = torch.device("cuda")
STEPS = 12
ORDER = Order(24, batch_size=4, accumulate=2, world_size=1, seed=1, drop_last=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    draw_shapes(root, 24, 1, seed=1)
    return DetectionDataset(read_voc(root, ["trainval"], None).records, train_difficult=True)


def steps(dataset, workers, pin_memory):
    return training_steps(dataset, ORDER, 0, STEPS, 0, workers, pin_memory)


def test_every_byte_arrives_and_all_is_page_locked(dataset):
    """Each step is copied to the device while the next one is asked for, as in training."""
    moved, kept = [], []
    with closing(steps(dataset, 3, pin_memory=True)) as stream:
        for step in stream:
            assert all(each.is_pinned() for packed in step for each in tensors_of(packed).values())
            if kept:
                kept[-1].synchronize()
            torch.cuda._sleep(20_000_000)  # some ten milliseconds, in which nothing is copied
            moved.append([to_device(packed, CUDA) for packed in step])
            kept.append(torch.cuda.current_stream().record_event())
        torch.cuda.synchronize()
    for ours, theirs in zip(moved, steps(dataset, 0, pin_memory=False), strict=True):
        for our, their in zip(ours, theirs, strict=True):
            assert (our.image_ids, our.problems) == (their.image_ids, their.problems)
            for name, tensor in tensors_of(our).items():
                assert torch.equal(tensor.cpu(), getattr(their, name)), name


def test_copies_are_asynchronous(dataset):
    """The host goes on while the device is not yet through with what came before the copy."""
    with closing(evaluation_batches(dataset, 8, 1, pin_memory=True)) as batches:
        packed = next(batches)
        to_device(packed, CUDA)  # the memory on the device is there from now on
        torch.cuda.synchronize()
        torch.cuda._sleep(2_000_000_000)  # about a second
        to_device(packed, CUDA)
        assert not torch.cuda.current_stream().query()
        torch.cuda.synchronize()


def test_the_memory_is_unlocked_at_the_end(dataset):
    """A copy that is under way is waited for, and the next ring can be locked too."""
    for _ in range(3):
        with closing(evaluation_batches(dataset, 8, 1, pin_memory=True)) as batches:
            packed = next(batches)
            torch.cuda._sleep(200_000_000)
            moved = to_device(packed, CUDA)
        assert not packed.pixels.is_pinned()
        assert torch.equal(moved.pixels.cpu(), packed.pixels)


def test_a_failure_is_told_and_does_not_reach_the_next_kernel():
    memory = np.zeros(1 << 20, np.uint8)
    assert page_lock(memory) == ""
    assert torch.from_numpy(memory).is_pinned()
    assert "already" in page_lock(memory)
    assert torch.ones(3, device=CUDA).sum().item() == 3
    page_unlock(memory)
    assert not torch.from_numpy(memory).is_pinned()
