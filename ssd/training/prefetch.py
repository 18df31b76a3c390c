"""Makes the batches of a step from its packed images, on a GPU one step ahead of the training.

On a GPU, copy and augmentation use a side stream, so that they run during the previous step. Two
rules keep memory from being reused too early. The copies of a step are done before the second step
after it is asked for: its source is referenced until then, and workers do not write over it before
(`ssd.data.loader`). A batch is made on the side stream but read on the consumer's stream, and
PyTorch would reuse its memory as soon as the host drops it; `record_stream` makes PyTorch wait for
the consumer's stream.

On a CPU the batches are made on demand, since a thread would take a core from the training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import NamedTuple

import torch

from ssd.structures import Batch, PackedSamples

Steps = Generator[list[PackedSamples], None, None]
MakeBatches = Callable[[list[PackedSamples]], list[Batch]]


class Ready(NamedTuple):
    """The data of one step.

    Attributes:
        batches: the micro-batches, on the device.
        problems: messages about images that could not be read.
        waited: seconds that this process waited for the packed images or, without workers, took
            to decode them. Copy and augmentation are not included. On a GPU the previous step may
            have been computing meanwhile.
    """

    batches: list[Batch]
    problems: list[str]
    waited: float


def prefetch(
    steps: Steps, make_batches: MakeBatches, device: torch.device
) -> Generator[Ready, None, None]:
    """Yields the data of every step, in order.

    Args:
        steps: the packed images of each step; closed together with the result.
        make_batches: copies the packed images of a step to the device and augments them there.
        device: the device to make the batches on.

    Raises:
        UserError: raised by `steps`; on a GPU one step early.
    """
    with closing(steps):
        if device.type == "cuda":
            yield from _on_side_stream(steps, make_batches, device)
        else:
            while (taken := _take(steps)) is not None:
                samples, waited = taken
                yield _ready(make_batches(samples), samples, waited)


class _Started(NamedTuple):
    """A step in preparation: the source of the copies, the end of all work, the data."""

    source: list[PackedSamples]
    made: torch.cuda.Event
    ready: Ready


def _on_side_stream(
    steps: Steps, make_batches: MakeBatches, device: torch.device
) -> Iterator[Ready]:
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def start() -> _Started | None:
        with torch.cuda.stream(side):  # for `steps` too, which may gather images on the device
            if (taken := _take(steps)) is None:
                return None
            samples, waited = taken
            batches = make_batches(samples)
            return _Started(samples, side.record_event(), _ready(batches, samples, waited))

    try:
        current = start()
        while current is not None:
            upcoming = start()
            current.made.synchronize()  # before its source is dropped; it was started a step ago
            ready = _handed_over(current, torch.cuda.current_stream(device))
            current = upcoming
            yield ready
            del ready  # so that the next step can reuse its memory
    finally:
        side.synchronize()


def _handed_over(started: _Started, consumer: torch.cuda.Stream) -> Ready:
    """Makes the batches of a step safe to use on the consumer's stream, and returns them."""
    consumer.wait_event(started.made)
    for batch in started.ready.batches:
        for tensor in (batch.images, batch.boxes, batch.labels):
            tensor.record_stream(consumer)
    return started.ready


def _take(steps: Steps) -> tuple[list[PackedSamples], float] | None:
    """The next step's packed images and the wait for them in seconds; None at the end."""
    started = time.perf_counter()
    samples = next(steps, None)
    return None if samples is None else (samples, time.perf_counter() - started)


def _ready(batches: list[Batch], samples: list[PackedSamples], waited: float) -> Ready:
    return Ready(batches, [problem for packed in samples for problem in packed.problems], waited)
