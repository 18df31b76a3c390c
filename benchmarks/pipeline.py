"""Measures how fast image files become training batches: the parts, the whole, and other libraries.

| side | in the workers | in the training process |
|---|---|---|
| ours | decode, pack | plan, pixels: normalised [B, 3, 300, 300] |
| Albumentations | decode, its chain (`augment.engine: library`), pack | resize, normalise |
| torchvision | all of its reference recipe (`peers.py`), stack | nothing |

All sides take the same images of a data set in the same order, with the same batch size and number
of workers. *On one core* is one process without workers, measured in CPU time, so that other load
on a shared machine counts little. With workers, the training process works beside them, so every
side may use all cores. The total work per image counts, whichever process does it, since on a CPU
the model uses the same cores. Every process has one thread: more of them, beside workers on as
many cores, would wait for one another. The clock of a turn starts after as many batches as there
are workers, so that starting processes and importing do not count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice

import cv2
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks.compare import Side, compare
from benchmarks.peers import torchvision_batches
from ssd.augment import pixels
from ssd.augment.batch import preprocess_of
from ssd.augment.plan import draw_plan
from ssd.config import AugmentConfig, DataConfig, ModelConfig
from ssd.data.dataset import DetectionDataset, Request, pack
from ssd.data.layout import locate
from ssd.data.loader import AHEAD, Batches, start_worker, training_steps
from ssd.data.order import Order
from ssd.data.source import load_data
from ssd.structures import Batch, Record
from ssd.training.feed import Feed

MODEL = ModelConfig("vgg16", 300)
OURS, ALBUMENTATIONS = AugmentConfig(), AugmentConfig(engine="library")
SEED = 0
LEAST_BATCHES = 24  # per turn
CPU = torch.device("cpu")


def benchmark_pipeline(data: DataConfig, batch_size: int, rounds: int) -> list[str]:
    """Times the CPU pipeline on a data set: its parts, and against torchvision and Albumentations.

    Args:
        data: the images, and the number of workers that read them.
        batch_size: images of a batch.
        rounds: turns of each side.

    Raises:
        UserError: the data cannot be read.
    """
    data, _ = locate(data)
    records = load_data(data, data.train_split, data.classes).records
    return [
        *parts_on_one_core(records, batch_size, rounds),
        whole_pipelines(records, batch_size, 0, rounds),
        whole_pipelines(records, batch_size, data.workers, rounds),
        *([handovers(records, batch_size, data.workers, rounds)] if data.workers else []),
    ]


def parts_on_one_core(records: Sequence[Record], batch_size: int, rounds: int) -> list[str]:
    """Times decoding, planning and the pixels on one core."""
    dataset, settings = DetectionDataset(records, train_difficult=True), preprocess_of(MODEL, OURS)
    requests = [Request(0, index) for index in range(min(len(records), 4 * batch_size))]
    samples = pack([dataset[request] for request in requests])
    plan = draw_plan(samples, SEED, OURS)

    def change(colours_last: bool) -> object:
        numbers = settings.size, settings.mean, settings.std, settings.antialias
        return pixels.apply_plan(samples, plan, *numbers, colours_last)

    sides: dict[str, Side] = {
        "decode": lambda: pack([dataset[request] for request in requests]),
        "plan": lambda: draw_plan(samples, SEED, OURS),
        "pixels": lambda: change(colours_last=False),
        "pixels, colours last": lambda: change(colours_last=True),
    }
    with one_thread():
        seconds = compare("parts on one core", sides, rounds, CPU).seconds
    return [
        f"{name + ', one core':<34} {1e3 * taken / len(requests):.2f} ms an image   "
        f"{len(requests) / taken:,.0f} images/s"
        for name, taken in seconds.items()
    ]


def whole_pipelines(records: Sequence[Record], batch_size: int, workers: int, rounds: int) -> str:
    """Images per second from files to normalised batches; without workers, on one core."""
    order = Order(len(records), batch_size, 1, 1, SEED, drop_last=True)
    passes = -(-LEAST_BATCHES // order.steps_per_epoch)
    steps = passes * order.steps_per_epoch

    def ours(augment: AugmentConfig) -> Callable[[], Iterator[object]]:
        return lambda: our_batches(records, order, steps, workers, augment)

    def theirs() -> Iterator[object]:
        batches = [order.micro_batches(step, 0)[0] for step in range(steps)]
        return torchvision_batches(records, batches, workers, MODEL)

    sides = {
        "ours": ours(OURS),
        "ours, colours last": ours(AugmentConfig(photometric_after_resize=True)),
        "Albumentations": ours(ALBUMENTATIONS),
        "torchvision": theirs,
    }
    with one_thread():
        clock = time.perf_counter if workers else time.process_time
        rates = by_turns(sides, batch_size, max(1, workers), rounds, clock)
    return rate_line(f"pipeline, {workers} workers" if workers else "pipeline, one core", rates)


def our_batches(
    records: Sequence[Record], order: Order, steps: int, workers: int, augment: AugmentConfig
) -> Generator[Batch, None, None]:
    """Yields the batches of training."""
    preprocess = preprocess_of(MODEL, augment)
    feed = Feed(records, DataConfig(workers=workers), augment, preprocess, 0, CPU)
    with closing(feed.steps(order, 0, steps)) as all_ready:
        for ready in all_ready:
            yield ready.batches[0]


def handovers(records: Sequence[Record], batch_size: int, workers: int, rounds: int) -> str:
    """Images per second that workers decode and hand over: by parcels, and as PyTorch does it."""
    dataset = DetectionDataset(records, train_difficult=True)
    order = Order(len(records), batch_size, 1, 1, SEED, drop_last=True)
    steps = -(-LEAST_BATCHES // order.steps_per_epoch) * order.steps_per_epoch

    def pytorchs() -> Iterator[object]:
        batches = [order.micro_batches(step, 0)[0] for step in range(steps)]
        return iter(
            DataLoader(
                Batches(dataset),
                batch_size=None,
                sampler=[[Request(0, index) for index in batch] for batch in batches],
                num_workers=workers,
                prefetch_factor=AHEAD,
                multiprocessing_context="fork",
                worker_init_fn=start_worker,
            )
        )

    sides: dict[str, Callable[[], Iterator[object]]] = {
        "ours": lambda: training_steps(dataset, order, 0, steps, 0, workers, pin_memory=False),
        "PyTorch's handover": pytorchs,
    }
    with one_thread():
        rates = by_turns(sides, batch_size, workers, rounds, time.perf_counter)
    return rate_line(f"decoded by {workers} workers", rates)


def by_turns(
    sides: Mapping[str, Callable[[], Iterator[object]]],
    batch_size: int,
    head: int,
    rounds: int,
    clock: Callable[[], float],
) -> dict[str, float]:
    """Median images per second of each side; the first `head` batches of a turn do not count."""
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in tqdm(range(rounds), desc="pipeline", leave=False, unit="round"):
        for side, batches in sides.items():
            stream = batches()
            for _ in islice(stream, head):
                pass
            started = clock()
            count = sum(1 for _ in stream)
            rates[side].append(batch_size * count / (clock() - started))
    return {side: statistics.median(values) for side, values in rates.items()}


def rate_line(name: str, rates: Mapping[str, float]) -> str:
    """One line: images per second of each side, and the ratio of ours to each other one."""
    (ours, own), *others = rates.items()
    parts = [f"{ours} {own:.1f} images/s"]
    parts += [
        f"{side} {rate:.1f} (ours makes {own / rate:.2f} times as many)" for side, rate in others
    ]
    return f"{name:<34} {'   '.join(parts)}"


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """Limits PyTorch and OpenCV to one thread."""
    threads, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(of_opencv)
