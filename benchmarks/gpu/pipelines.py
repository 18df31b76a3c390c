"""Times training on the pipeline beside one fixed batch, and the pipeline without training."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from math import inf
from statistics import median
from typing import Literal, NamedTuple

import torch

from benchmarks.gpu import clock
from benchmarks.gpu.rows import Known, Row
from benchmarks.gpu.steps import Kind, Model, refuse, release, training_step
from benchmarks.training import random_batch
from ssd.augment.batch import finds_compiler, preprocess_of
from ssd.config import AugmentConfig, DataConfig, ModelConfig
from ssd.data.dataset import DetectionDataset
from ssd.data.loader import training_steps
from ssd.data.order import Order
from ssd.structures import Batch, DataSet, Record
from ssd.training.feed import Feed
from ssd.training.prefetch import Ready

Source = Literal["device cache", "host cache", "JPEG files"]
Cache = Literal["none", "host", "device"]
CACHES: dict[Source, Cache] = {
    "device cache": "device",
    "host cache": "host",
    "JPEG files": "none",
}
AUGMENT = AugmentConfig()
SEED = 0
CACHE_GB = 8.0
NO_END = 10**6  # steps
WARM_UP = 50  # steps, more than 16 workers have read ahead, and than a first pass over 512 images
BETWEEN_READS = 10  # steps between two looks at the figures, as `training.log_every`
REACHABLE = 0.9  # share of what workers decode alone, when a model trains beside them
ALONE = "workers alone, from JPEG files"


class Pace(NamedTuple):
    """Seconds of a step, and those of them that it waited for its data."""

    seconds: float
    waited: float


def fed_name(model: Model, batch_size: int, source: Source) -> str:
    """The name of the row of training on the pipeline."""
    return f"{model.name}, batch {batch_size}, from the {source}"


def fixed_name(model: Model, batch_size: int) -> str:
    """The name of the row of training on one fixed batch."""
    return f"{model.name}, batch {batch_size}, on one fixed batch"


def unused_name(source: Source, workers: int) -> str:
    """The name of the row of the pipeline without training."""
    return f"{source} without training, {workers} workers"


def time_pipelines(
    model: Model,
    batch_size: int,
    kind: Kind,
    data: DataSet,
    workers: int,
    sources: Sequence[Source],
    device: torch.device,
    known: Known,
) -> Iterator[Row]:
    """Times steps of a model on batches from each source, as a share of what they could reach.

    That is the rate on one fixed batch. For JPEG files it is at most nine tenths of what the
    workers decode alone, if that is known.
    """
    release(device)
    model = replace(model, num_classes=len(data.classes) + 1)
    step = training_step(model, batch_size, kind, device)
    fixed = [random_batch(batch_size, model.config.input_size, device, model.num_classes)]
    best = batch_size / clock.seconds_per_call(lambda: step(fixed), device)
    yield Row(fixed_name(model, batch_size), best, "images/s", kind)
    for source in sources:
        feed = new_feed(model.config, data.records, source, workers, device)
        order = Order(len(data.records), batch_size, 1, 1, SEED, drop_last=True)
        pace = fed(feed.steps(order, 0, NO_END, refuse), step, device)
        rate, reachable, limit = batch_size / pace.seconds, best, "the fixed batch"
        decoded = REACHABLE * known.get(ALONE, inf)
        if source == "JPEG files" and decoded < best:
            reachable, limit = decoded, "nine tenths of the workers alone"
        details = (
            f"{rate:,.0f} images/s; data wait {1e3 * pace.waited:.2f} of {1e3 * pace.seconds:.2f} "
            f"ms ({pace.waited / pace.seconds:.1%})"
        )
        share = 100 * rate / reachable
        yield Row(fed_name(model, batch_size, source), share, f"% of {limit}", details)


def time_reading(
    config: ModelConfig,
    batch_size: int,
    records: Sequence[Record],
    workers: int,
    sources: Sequence[tuple[Source, int]],
    device: torch.device,
) -> Iterator[Row]:
    """Times the workers alone, and the batches of the pipeline without training.

    Args:
        config: sets the size of the batches' images.
        batch_size: images of a batch.
        records: the images.
        workers: that decode alone.
        sources: of batches, each with its number of workers.
        device: where the batches are made.
    """
    release(device)
    order = Order(len(records), batch_size, 1, 1, SEED, drop_last=True)
    seconds = fed(decoding(records, order, workers, device), lambda _batches: None, device).seconds
    yield Row(ALONE, batch_size / seconds, "images/s", f"{workers} workers, batch {batch_size}")
    for source, count in sources:
        feed = new_feed(config, records, source, count, device)
        pace = fed(feed.steps(order, 0, NO_END, refuse), lambda _batches: None, device)
        details = f"batch {batch_size}; data wait {pace.waited / pace.seconds:.0%}"
        name = unused_name(source, count)
        yield Row(name, batch_size / pace.seconds, "images/s", details)


def new_feed(
    config: ModelConfig,
    records: Sequence[Record],
    source: Source,
    workers: int,
    device: torch.device,
) -> Feed:
    """The pipeline as training builds it."""
    data = DataConfig(workers=workers, cache=CACHES[source], cache_gb=CACHE_GB)
    graphs = device.type == "cuda" and finds_compiler()
    preprocess = preprocess_of(config, AUGMENT)
    return Feed(records, data, AUGMENT, preprocess, SEED, device, graphs=graphs)


def decoding(
    records: Sequence[Record], order: Order, workers: int, device: torch.device
) -> Generator[Ready, None, None]:
    """Takes what the workers hand over for each step, and makes no batches of it."""
    dataset = DetectionDataset(records, train_difficult=True)
    on_gpu = device.type == "cuda"
    with closing(training_steps(dataset, order, 0, NO_END, 0, workers, on_gpu)) as steps:
        for _ in steps:
            yield Ready([], [], 0.0)


def fed(
    steps: Generator[Ready, None, None],
    take: Callable[[list[Batch]], object],
    device: torch.device,
) -> Pace:
    """The median pace of some rounds after a warm-up; closes the steps."""
    with closing(steps):
        for _ in range(0, WARM_UP, BETWEEN_READS):
            advance(steps, take, device)
        rounds = [one_round(steps, take, device) for _ in range(clock.ROUNDS)]
    return Pace(*(median(column) for column in zip(*rounds, strict=True)))


def one_round(
    steps: Iterator[Ready], take: Callable[[list[Batch]], object], device: torch.device
) -> Pace:
    """The pace of a round; it is twice as long as others, since data comes in bursts."""
    count, waited, started = 0, 0.0, time.perf_counter()
    while (taken := time.perf_counter() - started) < 2 * clock.SECONDS or not count:
        waited += advance(steps, take, device)
        count += BETWEEN_READS
    return Pace(taken / count, waited / count)


def advance(
    steps: Iterator[Ready], take: Callable[[list[Batch]], object], device: torch.device
) -> float:
    """Takes some steps and waits for their end; returns the seconds that they waited for data.

    It does not wait for the batch that is made meanwhile, and neither does training.
    """
    waited = 0.0
    for ready in islice(steps, BETWEEN_READS):
        take(ready.batches)
        waited += ready.waited
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return waited
