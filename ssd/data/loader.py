"""Workers: micro-batches of packed samples, read ahead by other processes, in order.

What comes out does not depend on the number of workers.
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

LONGEST_WAIT = 300  # seconds for a batch, from workers
AHEAD = 2  # batches of each worker

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
    """This rank's micro-batches of every step from `first_step` to before `last_step`.

    To resume is to start at another `first_step`. All epochs are one pass: the workers start once.
    They end when the generator is closed, which the caller has to do: a Python that exits with
    open workers waits for them forever, since they leave stopping to their parent.

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
    """Every image exactly once, in the order of the data set; the last batch may be short.

    The caller has to close the generator, as that of `training_steps`.

    Raises:
        UserError: an image cannot be read and the dataset is strict.
    """
    size = len(dataset)
    requests = (
        [Request(0, index) for index in range(start, min(start + batch_size, size))]
        for start in range(0, size, batch_size)
    )
    return _packed(dataset, requests, workers, pin_memory)


class _Batches(Dataset[PackedSamples | UserError]):
    """Packs of samples. An error is handed over as a value: raised, it would lose its one line."""

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
    return read_ahead(_Batches(dataset), requests, workers, pin_memory)


def read_ahead(
    dataset: Dataset[Item | UserError], requests: Iterable[Any], workers: int, pin_memory: bool
) -> Generator[Item, None, None]:
    """The dataset's item for each request, in their order.

    The caller has to close the generator, as that of `training_steps`.

    Raises:
        UserError: an item is one; a worker was killed; or none has come for `LONGEST_WAIT`.
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
        batch_size=None,  # each item that the sampler gives is a whole batch already
        sampler=requests,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else starting would draw from the global one
    )


def _from_workers(
    dataset: Dataset[Item | UserError], requests: Iterable[Any], workers: int, pin_memory: bool
) -> Generator[Item | UserError, None, None]:
    """Each request goes out with a memory file for its item, which is free again once it came."""
    with memory_files(workers * AHEAD + 1) as files:  # the loader asks for one before it gives one
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
            multiprocessing_context="fork",  # a cache's memory is inherited, and the memory files
            generator=torch.Generator(),
            worker_init_fn=_start_worker,
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
        worker.kill()  # it may hang, and would be waited for at the exit
    raise UserError(
        f"no more images came ({stopped}): see whether the storage of data.root answers, and "
        "whether memory is left; fewer data.workers take less"
    )


class _Senders(Dataset[Parcel | UserError]):
    """Sends each item in the memory file that is given with its request."""

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
                f"there is no memory for the images that are read ahead ({error.strerror}): "
                "lower data.workers"
            )


def _start_worker(_worker: int) -> None:
    """Leaves stopping to the parent; workers share the cores, so each uses one thread.

    Ctrl-C and a cluster's signals reach all processes of a run. PyTorch's own threads are limited
    by the loader.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
