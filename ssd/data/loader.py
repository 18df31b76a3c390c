"""Workers: micro-batches of packed samples, read ahead by other processes, in order.

What comes out does not depend on the number of workers.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import islice
from typing import Any, TypeVar

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssd.data.dataset import DetectionDataset, Request, pack
from ssd.data.order import Order
from ssd.errors import UserError
from ssd.structures import PackedSamples

LONGEST_WAIT = 300  # seconds for a batch, from workers

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
    loader = DataLoader(
        dataset,
        batch_size=None,  # each item that the sampler gives is a whole batch already
        sampler=requests,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=pin_memory,
        collate_fn=_in_shared_memory if workers else None,
        timeout=LONGEST_WAIT if workers else 0,
        multiprocessing_context="fork" if workers else None,  # a cache's memory is inherited
        generator=torch.Generator(),  # else starting the workers would draw from the global one
        worker_init_fn=_start_worker,
    )
    try:
        for item in loader:
            if isinstance(item, UserError):
                raise item
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


def _in_shared_memory(item: Item) -> Item | UserError:
    """The item, ready to be handed over: left to PyTorch, a lack of room would lose it silently."""
    tensors = [item] if isinstance(item, Tensor) else getattr(item, "__dict__", {}).values()
    try:
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                tensor.share_memory_()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        return UserError(
            f"/dev/shm has no room for the images that are read ahead ({error}): enlarge it (with "
            "Docker, --shm-size 8g), or lower data.workers"
        )
    return item


def _start_worker(_worker: int) -> None:
    """Leaves stopping to the parent; workers share the cores, so each uses one thread.

    Ctrl-C and a cluster's signals reach all processes of a run. PyTorch's own threads are limited
    by the loader.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
