import multiprocessing
import os
import resource
import signal
import time
from itertools import islice

import pytest
import torch

from ssd.common.errors import UserError
from ssd.data.dataset import DetectionDataset
from ssd.data.loader import evaluation_batches, training_steps
from ssd.data.order import Order
from ssd.data.voc import read_voc

# Python 3.12 and newer warn whenever a process with threads forks; PyTorch's loader does
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

NUM_IMAGES = 11
ORDER = Order(NUM_IMAGES, batch_size=2, accumulate=2, world_size=1, seed=5, drop_last=False)


@pytest.fixture
def records(voc):
    return read_voc(voc.fill(NUM_IMAGES).root, ["trainval"], None).records


@pytest.fixture
def dataset(records):
    return DetectionDataset(records, train_difficult=True)


def contents(steps):
    """Everything in the steps, as values that compare exactly."""
    return [
        [
            {
                name: value.tolist() if isinstance(value, torch.Tensor) else value
                for name, value in vars(batch).items()
            }
            for batch in step
        ]
        for step in steps
    ]


def test_steps_hold_what_the_order_says(dataset):
    steps = list(training_steps(dataset, ORDER, 0, 7, rank=0, workers=0, pin_memory=False))
    assert [len(step) for step in steps] == [2, 2, 2, 2, 2, 2, 2]
    for number, step in enumerate(steps):
        for batch, indices in zip(step, ORDER.micro_batches(number, 0), strict=True):
            assert batch.image_ids == [f"img{index:02}" for index in indices]
            assert set(batch.epochs.tolist()) == {number // 3}


def test_neither_workers_nor_resuming_change_anything(dataset):
    def run(first, workers):
        return contents(training_steps(dataset, ORDER, first, 7, 0, workers, pin_memory=False))

    straight = run(0, workers=0)
    assert run(0, workers=1) == straight
    assert run(0, workers=2) == straight
    assert run(4, workers=0) == run(4, workers=2) == straight[4:]


@pytest.mark.parametrize("workers", [0, 1])
def test_ranks_share_a_step_and_may_get_nothing(dataset, workers):
    order = Order(NUM_IMAGES, batch_size=5, accumulate=1, world_size=2, seed=0, drop_last=False)
    ranks = [list(training_steps(dataset, order, 0, 2, rank, workers, False)) for rank in range(2)]
    sizes = [[[len(batch.image_ids) for batch in step] for step in steps] for steps in ranks]
    assert sizes == [[[5], [1]], [[5], [0]]]
    seen = [name for steps in ranks for step in steps for batch in step for name in batch.image_ids]
    assert sorted(seen) == [f"img{index:02}" for index in range(NUM_IMAGES)]


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_sees_every_image_once_in_order(dataset, workers):
    batches = list(evaluation_batches(dataset, 4, workers, pin_memory=False))
    assert [len(batch.image_ids) for batch in batches] == [4, 4, 3]
    seen = [name for batch in batches for name in batch.image_ids]
    assert seen == [f"img{index:02}" for index in range(NUM_IMAGES)]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_stays_one_line(records, workers):
    for record in records:
        record.path.write_bytes(b"")
    dataset = DetectionDataset(records, train_difficult=True)
    with pytest.raises(UserError) as error:
        next(evaluation_batches(dataset, 4, workers, pin_memory=False))
    first = f"{records[0].path}: image is empty"
    assert str(error.value) == f"none of {NUM_IMAGES} images is readable; {first}"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_strict_dataset_has_a_problem_for_each_image(records, workers):
    records[6].path.write_bytes(b"")
    strict = DetectionDataset(records, train_difficult=True, strict=True)
    batches = list(evaluation_batches(strict, 4, workers, pin_memory=False))
    problems = [problem for batch in batches for problem in batch.problems]
    assert problems == ["" if n != 6 else f"{records[6].path}: image is empty" for n in range(11)]
    assert batches[1].image_ids == ["img04", "img05", "img06", "img07"]


def test_problems_come_through(records):
    records[6].path.write_bytes(b"")
    dataset = DetectionDataset(records, train_difficult=True)
    batches = list(evaluation_batches(dataset, 4, 1, pin_memory=False))
    assert [batch.problems for batch in batches] == [[], [f"{records[6].path}: image is empty"], []]
    assert batches[1].image_ids == ["img04", "img05", "img07", "img07"]


def test_starting_workers_draws_no_global_random_number(dataset):
    state = torch.get_rng_state()
    next(evaluation_batches(dataset, 4, 1, pin_memory=False))
    assert torch.equal(torch.get_rng_state(), state)


def test_workers_leave_ctrl_c_to_the_parent_and_end_with_the_iterator(dataset):
    steps = training_steps(dataset, ORDER, 0, 60, rank=0, workers=2, pin_memory=False)
    next(steps)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid, signal.SIGINT)
    assert len(list(islice(steps, 20))) == 20
    steps.close()
    deadline = time.monotonic() + 10
    while any(worker.is_alive() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


# workers in trouble


@pytest.fixture
def first_batch(records):
    batches = evaluation_batches(DetectionDataset(records, True), 2, workers=1, pin_memory=False)
    return lambda: next(batches)


def test_a_worker_without_memory_says_so(first_batch):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # bytes; the worker inherits it
    try:
        with pytest.raises(UserError, match=r"memory for .* \(File too large\): lower data\.w"):
            first_batch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_worker_that_hangs_is_not_waited_for(first_batch, monkeypatch):
    monkeypatch.setattr("ssd.data.loader.LONGEST_WAIT", 1)
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    monkeypatch.setattr("ssd.data.dataset.read_pixels", lambda record: time.sleep(1000))
    before = set(multiprocessing.active_children())
    with pytest.raises(UserError, match=r"no more images came \(DataLoader timed out after 1 sec"):
        first_batch()
    for worker in set(multiprocessing.active_children()) - before:
        worker.join(10)
        assert not worker.is_alive()


def test_a_killed_worker_is_one_line(first_batch, monkeypatch):
    def killed(record):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("ssd.data.dataset.read_pixels", killed)
    with pytest.raises(UserError, match=r"no more images came \(DataLoader worker"):
        first_batch()
