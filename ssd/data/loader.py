"""Worker processes that read micro-batches of packed samples ahead, in order.

The output does not depend on the number of workers.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from ssd.common.errors import UserError
from ssd.data.dataset import DetectionDataset, Request, pack
from ssd.data.order import Order
from ssd.data.parcel import Parcel, memory_files
from ssd.structures import PackedSamples

LONGEST_WAIT = 300  # seconds to wait for a batch from the workers
AHEAD = 2  # batches per worker

Item = TypeVar("Item")


def training_steps(
    dataset: DetectionDataset,
    order: Order,
    first_step: int,
    last_step: int,
    rank: int,
    workers: int,
    pin_memory: bool,
) -> Generator[list[PackedSamples], None, None]:
    """Yields this rank's micro-batches of each step from `first_step` to before `last_step`.

    A run resumes by starting at another `first_step`. All epochs are one pass, so the workers
    start only once. The caller has to close the generator, which ends them: Python would wait
    forever at exit for workers that are still running, since they leave stopping to their parent.

    Raises:
        UserError: no image can be read.
    """
    steps = range(first_step, last_step)
    requests = (
        [Request(order.position(step)[0], index) for index in indices]
        for step in steps
        for indices in order.micro_batches(step, rank)
    )
    with closing(_packed(dataset, requests, workers, pin_memory)) as batches:
        for step in steps:
            yield list(islice(batches, order.num_micro_batches(step)))


def evaluation_batches(
    dataset: DetectionDataset, batch_size: int, workers: int, pin_memory: bool
) -> Generator[PackedSamples, None, None]:
    """Yields every image exactly once, in data set order; the last batch may be short.

    The caller has to close the generator, as with `training_steps`.

    Raises:
        UserError: an image cannot be read and the dataset is strict.
    """
    size = len(dataset)
    requests = (
        [Request(0, index) for index in range(start, min(start + batch_size, size))]
        for start in range(0, size, batch_size)
    )
    return _packed(dataset, requests, workers, pin_memory)


class Batches(Dataset[PackedSamples | UserError]):
    """Packs of samples. A UserError is returned, since raising it would lose its one-line text."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, requests: list[Request]) -> PackedSamples | UserError:
        try:
            return pack([self.dataset[request] for request in requests])
        except UserError as error:
            return error


def _packed(
    dataset: DetectionDataset, requests: Iterable[list[Request]], workers: int, pin_memory: bool
) -> Generator[PackedSamples, None, None]:
    return read_ahead(Batches(dataset), requests, workers, pin_memory)


def read_ahead(
    dataset: Dataset[Item | UserError], requests: Iterable[Any], workers: int, pin_memory: bool
) -> Generator[Item, None, None]:
    """Yields the dataset's item for each request, in the order of the requests.

    The caller has to close the generator, as with `training_steps`.

    Raises:
        UserError: an item is a UserError, a worker was killed, or no item came for `LONGEST_WAIT`.
    """
    if workers:
        items = _from_workers(dataset, requests, workers, pin_memory)
    else:
        items = _from_this_process(dataset, requests, pin_memory)
    with closing(items):
        for item in items:
            if isinstance(item, UserError):
                raise item
            yield item


def _from_this_process(
    dataset: Dataset[Item | UserError], requests: Iterable[Any], pin_memory: bool
) -> Generator[Item | UserError, None, None]:
    yield from DataLoader(
        dataset,
        batch_size=None,  # each item from the sampler is already a whole batch
        sampler=requests,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # otherwise starting would draw from the global one
    )


def _from_workers(
    dataset: Dataset[Item | UserError], requests: Iterable[Any], workers: int, pin_memory: bool
) -> Generator[Item | UserError, None, None]:
    """Lends each request a memory file for its item, until the item has arrived."""
    with memory_files(workers * AHEAD + 1) as files:  # the loader draws one before it yields one
        free, lent = list(files), deque[int]()

        def orders() -> Iterator[tuple[int, Any]]:
            for request in requests:
                lent.append(free.pop())
                yield lent[-1], request

        loader = DataLoader(
            _Senders(dataset),
            batch_size=None,
            sampler=orders(),
            num_workers=workers,
            prefetch_factor=AHEAD,
            pin_memory=pin_memory,
            timeout=LONGEST_WAIT,
            multiprocessing_context="fork",  # workers inherit a cache and the memory files
            generator=torch.Generator(),
            worker_init_fn=start_worker,
        )
        try:
            for sent in loader:
                item = sent.received() if isinstance(sent, Parcel) else sent
                free.append(lent.popleft())
                yield item
        except RuntimeError as error:
            if not str(error).startswith("DataLoader "):
                raise
            stopped = str(error)
        else:
            return
    for worker in multiprocessing.active_children():
        worker.kill()  # it may hang, and Python would wait for it at exit
    raise UserError(
        f"no more images came ({stopped}): check that the storage of data.root responds and "
        "that memory is free; fewer data.workers need less memory"
    )


class _Senders(Dataset[Parcel | UserError]):
    """Sends each item in the memory file that comes with its request."""

    def __init__(self, dataset: Dataset[Item | UserError]) -> None:
        self.dataset = dataset

    def __getitem__(self, order: tuple[int, Any]) -> Parcel | UserError:
        file, request = order
        item = self.dataset[request]
        if isinstance(item, UserError):
            return item
        try:
            return Parcel.sent(item, file)
        except OSError as error:
            return UserError(
                f"not enough memory for the images that are read ahead ({error.strerror}): "
                "lower data.workers"
            )


def start_worker(_worker: int) -> None:
    """Ignores stop signals and limits OpenCV to one thread.

    Ctrl-C and a cluster's signals reach all processes of a run, and the parent handles them.
    Workers share the cores, so each uses one thread; the loader limits PyTorch's own threads.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
