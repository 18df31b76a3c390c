"""Micro-batches of packed samples, read ahead by worker processes, in order.

The output does not depend on the number of workers.

**The images of a step stay valid until the second step after it is asked for**, and those of an
evaluation batch until the second batch after it. Workers then write over them: their pixels are
views of a ring of shared memory. So the copies of a step to a GPU may still run while the next step
is asked for, and have to be done before the one after that. All other data is the caller's own.
Without workers, all of it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ssd.common.progress import say
from ssd.data.cache import Pixels, image_bytes
from ssd.data.dataset import NO_ROOM, DetectionDataset, Request, pack
from ssd.data.order import Order
from ssd.data.ring import Parcel, Ring
from ssd.data.workers import Workers
from ssd.structures import PackedSamples, Record

VALID = 2  # steps that can be asked for before the images of a step go
AHEAD = 4  # places beyond one for each worker

Item = TypeVar("Item")
Make = Callable[[Any, Pixels], Item]


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

    The images stay valid until the second step after theirs is asked for, as said above.

    A run resumes by starting at another `first_step`. All epochs are one pass, so the workers
    start only once. The caller has to close the generator, which ends them.

    Raises:
        UserError: no image can be read.
    """
    steps = range(first_step, last_step)
    requests = (
        [Request(order.position(step)[0], index) for index in indices]
        for step in steps
        for indices in order.micro_batches(step, rank)
    )
    capacity = room_for(dataset.records, order.batch_size)
    valid = VALID * order.accumulate
    batches = read_ahead(_packed(dataset), requests, workers, pin_memory, capacity, valid)
    with closing(batches):
        for step in steps:
            yield list(islice(batches, order.num_micro_batches(step)))


def evaluation_batches(
    dataset: DetectionDataset, batch_size: int, workers: int, pin_memory: bool
) -> Generator[PackedSamples, None, None]:
    """Yields every image exactly once, in data set order; the last batch may be short.

    The images stay valid until the second batch after theirs is asked for, as said above. The
    caller has to close the generator, as with `training_steps`.

    Raises:
        UserError: an image cannot be read and the dataset is strict.
    """
    size = len(dataset)
    requests = (
        [Request(0, index) for index in range(start, min(start + batch_size, size))]
        for start in range(0, size, batch_size)
    )
    capacity = room_for(dataset.records, batch_size)
    return read_ahead(_packed(dataset), requests, workers, pin_memory, capacity)


def _packed(dataset: DetectionDataset) -> Make[PackedSamples]:
    return lambda requests, room: pack((dataset[request] for request in requests), room)


def room_for(records: Sequence[Record], count: int) -> int:
    """The bytes to set aside for the pixels of `count` images; there may be more of them.

    It is what the largest images take, but at most what twice as many average ones do: if a few
    images are far larger than the others, hardly any batch consists of them.
    """
    sizes = np.sort(image_bytes(records))[::-1]
    twice = 2 * count * sizes.sum() / max(1, len(sizes))
    return max(1, int(min(sizes[:count].sum(), twice)))


def read_ahead(
    make: Make[Item],
    requests: Iterable[Any],
    workers: int,
    pin_memory: bool,
    capacity: int,
    valid: int = VALID,
) -> Generator[Item, None, None]:
    """Yields the item of each request, in the order of the requests.

    The caller has to close the generator, as with `training_steps`.

    Args:
        make: makes an item of a request, a dataclass with a tensor `pixels` of bytes. They may lie
            in the memory that comes with the request.
        requests: at best an iterator that makes them as they are needed.
        workers: processes that make items; 0 makes them here.
        pin_memory: whether to page-lock the items for a GPU.
        capacity: bytes of the pixels of an item; if they take more, they are copied once more.
        valid: an item's pixels stay valid until so many further items have been asked for.

    Raises:
        UserError: raised by `make`, a worker was killed, or no item came for too long.
    """
    if not workers:
        for request in requests:
            item: Any = make(request, NO_ROOM)
            yield item.pin_memory() if pin_memory else item
        return
    # A place for each worker, and some for items that are done before an earlier one, which is
    # what a slow image costs. Page-locked memory is scarce: 16 workers and batches of 128 images
    # of COCO, up to 157 MB each, take 3.5 GB.
    lent = workers + min(workers, AHEAD)
    with (
        closing(Ring(lent + valid, capacity)) as ring,
        closing(Workers(_writer(make, ring), requests, workers)) as pool,
    ):
        yield from _in_order(requests, pool, ring, lent, valid, pin_memory)


def _writer(make: Make[Any], ring: Ring) -> Callable[[int, Any], Parcel]:
    """Returns the work of a worker, which makes an item in a place."""

    def write(place: int, request: Any) -> Parcel:
        return ring.places[place].send(make(request, ring.places[place].room()))

    return write


def _in_order(
    requests: Iterable[Any], pool: Workers, ring: Ring, lent: int, valid: int, pin_memory: bool
) -> Generator[Any, None, None]:
    """Lends places to the workers and the consumer, at most `lent` and `valid` of them."""
    numbers = (number for number, _ in enumerate(requests))
    with_workers, with_consumer = deque[tuple[int, int]](), deque[int]()

    def lend() -> None:
        for number in islice(numbers, 1):
            with_workers.append((number, ring.take()))
            pool.ask(*with_workers[-1])

    for _ in range(lent):
        lend()
    if pin_memory and (problem := ring.lock()):
        _tell(
            f"warning: host memory cannot be page-locked ({problem}), so copies of images to the "
            "GPU keep this process waiting: fewer data.workers or smaller batches need less"
        )
    while with_workers:
        number, place = with_workers.popleft()
        item = ring.places[place].receive(pool.result(number))
        with_consumer.append(place)
        lend()
        yield item
        if len(with_consumer) == valid:
            ring.give_back(with_consumer.popleft())


@cache  # once, although every evaluation has its own ring
def _tell(line: str) -> None:
    say(line, to_stderr=True)
