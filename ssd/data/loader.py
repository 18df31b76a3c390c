"""Workers: micro-batches of packed samples, read ahead by other processes, in order.

What comes out does not depend on the number of workers.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import islice

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from ssd.data.dataset import DetectionDataset, Request, pack
from ssd.data.order import Order
from ssd.errors import UserError
from ssd.structures import PackedSamples


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
    loader = DataLoader(
        _Batches(dataset),
        batch_size=None,  # each item that the sampler gives is a whole batch already
        sampler=requests,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else starting the workers would draw from the global one
        worker_init_fn=_start_worker,
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield batch


def _start_worker(_worker: int) -> None:
    """Leaves stopping to the parent; workers share the cores, so each uses one thread.

    Ctrl-C and a cluster's signals reach all processes of a run. PyTorch's own threads are limited
    by the loader.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
