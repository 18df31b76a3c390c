"""Feeds a run: makes batches from its data set, or from the part of it that is kept in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from ssd.augment.batch import Preprocess
from ssd.augment.library import library_transform
from ssd.config import AugmentConfig, DataConfig
from ssd.data.cache import HostCache, cache_size, memory_needed, num_that_fit
from ssd.data.dataset import DetectionDataset
from ssd.data.device_cache import DeviceCache, decode_onto
from ssd.data.loader import training_steps
from ssd.data.num_workers import num_workers
from ssd.data.order import Order
from ssd.structures import Batch, PackedSamples, Record, to_device
from ssd.training.cache_place import cache_place, free_on_all_ranks
from ssd.training.graphed_batches import GraphedBatches
from ssd.training.prefetch import Ready, prefetch
from ssd.training.ranks import from_all_ranks, is_first, rank


class Feed:
    """The training images of a run, decoded as they are needed, or kept.

    Args:
        records: the images.
        data: the section of the config.
        augment: the section of the config.
        preprocess: what every image goes through.
        seed: of the augmentation.
        device: where it trains.
        graphs: whether to make the batches as CUDA graphs.
        repeats: whether some image comes more than once; `data.cache` auto keeps none otherwise.
        closing_epoch: the first epoch with whole images, if there is one.

    Attributes:
        workers: processes that decode images.
        cache_line: what is kept, in a line; empty for nothing, if the user wants it so.

    Raises:
        UserError: what is to be kept has no room; on a device, no image can be read.
    """

    def __init__(
        self,
        records: Sequence[Record],
        data: DataConfig,
        augment: AugmentConfig,
        preprocess: Preprocess,
        seed: int,
        device: torch.device,
        graphs: bool = False,
        repeats: bool = True,
        closing_epoch: int | None = None,
    ) -> None:
        self.graphs, self.workers = graphs, num_workers(data.workers, device.type)
        self.augment, self.preprocess, self.seed, self.device = augment, preprocess, seed, device
        self.closing_epoch = closing_epoch
        transform = library_transform(augment, seed)
        self.dataset = DetectionDataset(records, data.train_difficult, transform=transform)
        self.device_cache: DeviceCache | None = None
        place = cache_place(
            data,
            size := cache_size(records),
            free_on_all_ranks(device),
            device.type,
            repeats=repeats,
            in_workers=transform is not None,
        )
        line = f"none: {place.reason}" if place.reason else ""
        match place.name:
            case "host":
                kept = records[: num_that_fit(records, place.budget)]
                self.dataset.cache = open_host_cache(kept) if kept else None
                left = len(records) - len(kept)
                some = f"{len(kept)} of {len(records)}" if left else f"all {len(records)}"
                line = f"host memory keeps {some} images, {memory_needed(kept) / 1e9:.2f} GB"
                line += f"; the other {left} are decoded in every epoch" if left else ""
            case "device":
                self.device_cache = decode_onto(
                    device, self.dataset, place.budget, self.workers, show_progress=is_first()
                )
                line = f"{device} holds all {len(records)} images, {size / 1e9:.2f} GB"
        self.cache_line = f"{line} (data.cache auto)" if data.cache == "auto" else line

    def steps(
        self, order: Order, first: int, last: int, say: Callable[[str], None] = print
    ) -> Generator[Ready, None, None]:
        """This rank's data of every step from `first` to before `last`; the caller closes it.

        `say` takes a line if there can be no CUDA graphs.
        """

        def make_batch(samples: PackedSamples) -> Batch:
            rest = self.seed, self.augment, self.closing_epoch
            return self.preprocess.training_batch(samples, *rest)

        def make_batches(samples: list[PackedSamples]) -> list[Batch]:
            return [make_batch(to_device(packed, self.device)) for packed in samples]

        if self.device_cache is not None:
            packed = self.device_cache.steps(order, first, last, rank())
        else:
            on_gpu = self.device.type == "cuda"
            packed = training_steps(
                self.dataset, order, first, last, rank(), self.workers, pin_memory=on_gpu
            )
        graphed = GraphedBatches(make_batch, self.device, say) if self.graphs else make_batches
        return prefetch(packed, graphed, self.device)


def open_host_cache(records: Sequence[Record]) -> HostCache:
    """A cache that the ranks of this machine share: whoever decodes an image does it for all."""
    with memory_of_this_machine(memory_needed(records)) as file:
        return HostCache(records, file)


@contextmanager
def memory_of_this_machine(size: int) -> Iterator[Path]:
    """A file of zeros in memory, the same for all ranks of a machine, while it is entered.

    Whoever maps it keeps the memory; it is given back when the last one ends, however that ends.
    """
    file = os.memfd_create("decoded images")
    try:
        os.ftruncate(file, size)
        own = this_machine(), f"/proc/{os.getpid()}/fd/{file}"
        firsts: dict[str, str] = {}
        for machine, path in from_all_ranks(own):
            firsts.setdefault(machine, path)
        yield Path(firsts[own[0]])
        from_all_ranks(None)  # nobody closes it before all have mapped it
    finally:
        os.close(file)


def this_machine() -> str:
    """An id that processes share if they see each other below /proc: boot and container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return boot + os.readlink("/proc/self/ns/pid")
