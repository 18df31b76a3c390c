"""Measures how long training waits for its data: on the real pipeline, and on one fixed batch.

The network is SSD7 at 300 pixels, the fastest one and so the hardest to feed. The pipeline is the
one of training: `Feed`, with its cache, its workers and, on a GPU, its stream. The second side
trains on one batch that stays on the device. The third only takes the batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from statistics import median

import torch
from tqdm import tqdm

from benchmarks.compare import compare, synchronize
from benchmarks.training import our_state, random_batch
from ssd.augment.batch import preprocess_of
from ssd.augment.plan import draw_plan
from ssd.config import AugmentConfig, DataConfig, ModelConfig
from ssd.data.dataset import pack
from ssd.data.layout import locate
from ssd.data.order import Order
from ssd.data.source import load_data
from ssd.model.device import autocast_dtype
from ssd.structures import Batch, PackedSamples, Sample, to_device
from ssd.training.feed import Feed
from ssd.training.prefetch import Ready
from ssd.training.step import train_step

MODEL = ModelConfig("ssd7", 300)
AUGMENT = AugmentConfig()
SEED = 0
STEPS = 12  # per turn
WARM_UP = 3  # steps before them that are not timed
KERNEL_BATCH, KERNEL_SIZE = 128, (480, 640)


def benchmark_feeding(
    data: DataConfig, batch_size: int, rounds: int, device: torch.device
) -> list[str]:
    """Times a step and its data wait on the pipeline, and a step on one fixed batch.

    On a GPU, it also times the augmentation kernel alone.

    Raises:
        UserError: the data cannot be read, or there is no room for the cache.
    """
    data, _ = locate(data)
    loaded = load_data(data, data.train_split, data.classes)
    num_classes = len(loaded.classes) + 1
    train = training_step(num_classes, device)
    fixed = random_batch(batch_size, MODEL.input_size, device, num_classes)
    preprocess = preprocess_of(MODEL, AUGMENT)
    feed = Feed(loaded.records, data, AUGMENT, preprocess, SEED, device)
    order = Order(len(loaded.records), batch_size, 1, 1, SEED, drop_last=True)

    def steps() -> Generator[Ready, None, None]:
        return feed.steps(order, 0, WARM_UP + STEPS)

    fed, unfed = [], []
    taken = [take(steps(), device)]  # this fills a cache
    for _ in tqdm(range(rounds), desc="feeding", leave=False, unit="round"):
        fed.append(train_on(steps(), train, device))
        unfed.append(repeat(fixed, train, device))
        taken.append(take(steps(), device))
    waited, made, whole = (median(column) for column in zip(*fed, strict=True))
    alone, rate = median(unfed), batch_size / median(taken[1:])
    lines = [
        f"{'step on the pipeline':<34} {1e3 * whole:.1f} ms   data wait {1e3 * waited:.1f} ms "
        f"({waited / whole:.1%})   augmentation {1e3 * made:.1f} ms ({made / whole:.1%})",
        f"{'step on one fixed batch':<34} {1e3 * alone:.1f} ms   the pipeline reaches "
        f"{alone / whole:.1%} of its {batch_size / alone:.1f} images/s",
        f"{'pipeline without training':<34} {rate:,.1f} images/s   "
        f"{feed.cache_line or 'every image is decoded'}",
    ]
    return lines + ([kernel_alone(rounds, device)] if device.type == "cuda" else [])


def training_step(num_classes: int, device: torch.device) -> Callable[[Batch], object]:
    """Returns a training step of the network in the default training precision."""
    state, settings = our_state(MODEL, autocast_dtype("auto", device), device, num_classes)
    return lambda batch: train_step(state, [batch], settings)


def train_on(
    steps: Generator[Ready, None, None], train: Callable[[Batch], object], device: torch.device
) -> tuple[float, float, float]:
    """Seconds per step: its data wait, its augmentation as the host sees it, and the whole step."""
    waited = made = started = 0.0
    with closing(steps):
        for number in range(WARM_UP + STEPS):
            if number == WARM_UP:
                synchronize(device)
                waited, made, started = 0.0, 0.0, time.perf_counter()
            asked = time.perf_counter()
            ready = next(steps)
            waited, made = waited + ready.waited, made + time.perf_counter() - asked - ready.waited
            train(ready.batches[0])
        synchronize(device)
        whole = time.perf_counter() - started
    return waited / STEPS, made / STEPS, whole / STEPS


def take(steps: Generator[Ready, None, None], device: torch.device) -> float:
    """Seconds per step that only takes its batch."""
    return train_on(steps, lambda _batch: None, device)[2]


def repeat(batch: Batch, train: Callable[[Batch], object], device: torch.device) -> float:
    """Seconds per step on the same batch every time."""
    for _ in range(WARM_UP):
        train(batch)
    synchronize(device)
    started = time.perf_counter()
    for _ in range(STEPS):
        train(batch)
    synchronize(device)
    return (time.perf_counter() - started) / STEPS


def kernel_alone(rounds: int, device: torch.device) -> str:
    """The rates of the augmentation kernel in a line."""
    seconds = compare("kernel", kernel_sides(device), 10 * rounds, device).seconds
    parts = [f"{name} {KERNEL_BATCH / taken:,.0f} images/s" for name, taken in seconds.items()]
    return f"{f'kernel, batch {KERNEL_BATCH}, 640x480':<34} {'   '.join(parts)}"


def kernel_sides(device: torch.device) -> dict[str, Callable[[], torch.Tensor]]:
    """Calls of the augmentation kernel on 640×480 noise that is on the GPU."""
    from ssd.augment import kernel  # Triton comes with PyTorch for GPUs only

    samples = to_device(noise(KERNEL_BATCH, *KERNEL_SIZE), device)
    plan, settings = draw_plan(samples, SEED, AUGMENT), preprocess_of(MODEL, AUGMENT)
    numbers = settings.size, settings.mean, settings.std, settings.antialias
    return {"exact": lambda: kernel.apply_plan(samples, plan, *numbers)} | {
        "colours last": lambda: kernel.apply_plan(samples, plan, *numbers, colours_last=True)
    }


def noise(count: int, height: int, width: int) -> PackedSamples:
    """Images of noise, each with one object in the middle."""
    generator = torch.Generator().manual_seed(SEED)
    shape = height, width, 3
    box = torch.tensor([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]]).numpy()
    label = torch.ones(1, dtype=torch.int64).numpy()
    images = (
        torch.randint(256, shape, generator=generator, dtype=torch.uint8).numpy()
        for _ in range(count)
    )
    return pack([Sample(str(key), key, 0, image, box, label) for key, image in enumerate(images)])
