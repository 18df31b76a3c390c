"""From the packed images of a step to its batches: on a GPU one step ahead of the training.

There, copy and augmentation have a stream of their own, so that they run beside the step before.
Two rules keep memory from being used again too early. What is copied from stays referenced until
the copy is done. What is handed over is made on the side stream and read on the consumer's, and
PyTorch would give its memory away as soon as the host lets go of it: `record_stream` makes it wait
for the consumer's stream.

On a CPU the batches are made when they are asked for: a thread would take a core from training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import NamedTuple

import torch

from ssd.structures import Batch, PackedSamples, to_device

Steps = Generator[list[PackedSamples], None, None]
MakeBatch = Callable[[PackedSamples], Batch]


class Ready(NamedTuple):
    """A step's data.

    Attributes:
        batches: the micro-batches, on the device.
        problems: what could not be read on the way to them.
        waited: seconds in which this process waited for the packed images (without workers: in
            which it decoded them). Copy and augmentation are not among them. On a GPU the step
            before may have been computing meanwhile.
    """

    batches: list[Batch]
    problems: list[str]
    waited: float


def prefetch(
    steps: Steps, make_batch: MakeBatch, device: torch.device
) -> Generator[Ready, None, None]:
    """Every step's data, in order.

    Args:
        steps: the packed images of each step; closed when the result is closed or at its end.
        make_batch: augments packed images on the device.
        device: where the batches are made.

    Raises:
        UserError: whatever `steps` raises; on a GPU one step earlier.
    """
    with closing(steps):
        if device.type == "cuda":
            yield from _on_side_stream(steps, make_batch, device)
        else:
            while (taken := _take(steps)) is not None:
                samples, waited = taken
                batches = [make_batch(to_device(packed, device)) for packed in samples]
                yield _ready(batches, samples, waited)


class _Started(NamedTuple):
    """A step on its way: what is copied from, the end of the copies, and that of all work."""

    source: list[PackedSamples]
    copied: torch.cuda.Event
    made: torch.cuda.Event
    ready: Ready


def _on_side_stream(steps: Steps, make_batch: MakeBatch, device: torch.device) -> Iterator[Ready]:
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def start() -> _Started | None:
        with torch.cuda.stream(side):  # for `steps` too, which may gather images on the device
            if (taken := _take(steps)) is None:
                return None
            samples, waited = taken
            on_device = [to_device(packed, device) for packed in samples]
            copied = side.record_event()
            batches = [make_batch(packed) for packed in on_device]
            return _Started(samples, copied, side.record_event(), _ready(batches, samples, waited))

    try:
        current = start()
        while current is not None:
            upcoming = start()
            current.copied.synchronize()  # it was started a step ago
            ready = _handed_over(current, torch.cuda.current_stream(device))
            current = upcoming
            yield ready
            del ready  # its memory may serve the next step
    finally:
        side.synchronize()


def _handed_over(started: _Started, consumer: torch.cuda.Stream) -> Ready:
    """The batches of a step, safe to use on the consumer's stream."""
    consumer.wait_event(started.made)
    for batch in started.ready.batches:
        for tensor in (batch.images, batch.boxes, batch.labels):
            tensor.record_stream(consumer)
    return started.ready


def _take(steps: Steps) -> tuple[list[PackedSamples], float] | None:
    """The next step's packed images, and how many seconds they were waited for."""
    started = time.perf_counter()
    samples = next(steps, None)
    return None if samples is None else (samples, time.perf_counter() - started)


def _ready(batches: list[Batch], samples: list[PackedSamples], waited: float) -> Ready:
    return Ready(batches, [problem for packed in samples for problem in packed.problems], waited)
