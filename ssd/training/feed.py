"""Feeds a run: makes batches from its data set, or from the part of it that is kept in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from ssd.augment.batch import Preprocess
from ssd.augment.library import library_transform
from ssd.common.errors import UserError
from ssd.config import AugmentConfig, DataConfig
from ssd.data.cache import HostCache, memory_needed, num_that_fit
from ssd.data.dataset import DetectionDataset
from ssd.data.device_cache import DeviceCache, decode_onto
from ssd.data.loader import training_steps
from ssd.data.order import Order
from ssd.structures import Batch, PackedSamples, Record, to_device
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

    Attributes:
        cache_line: what is kept, in a line; empty for nothing.

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
    ) -> None:
        self.graphs = graphs
        self.workers, self.augment, self.preprocess = data.workers, augment, preprocess
        self.seed, self.device, self.cache_line = seed, device, ""
        budget = int(data.cache_gb * 1e9)
        transform = library_transform(augment, seed)
        self.dataset = DetectionDataset(records, data.train_difficult, transform=transform)
        self.device_cache: DeviceCache | None = None
        match data.cache:
            case "host":
                kept = records[: num_that_fit(records, budget)]
                self.dataset.cache = open_host_cache(kept) if kept else None
                left = f"; {len(records) - len(kept)} are decoded in every epoch"
                self.cache_line = (
                    f"host memory keeps {len(kept)} of {len(records)} images, "
                    f"{memory_needed(kept) / 1e9:.2f} GB{left if len(kept) < len(records) else ''}"
                )
            case "device":
                if device.type != "cuda":
                    raise UserError(
                        f"data.cache is device, which needs a CUDA device, but this run trains on "
                        f"{device.type}: give --data.cache host"
                    )
                if transform is not None:
                    raise UserError(
                        "data.cache is device, but Albumentations (augment.library) runs in the "
                        "workers: give --data.cache host"
                    )
                self.device_cache = decode_onto(
                    device, self.dataset, budget, data.workers, show_progress=is_first()
                )
                self.cache_line = f"{device} holds all {len(records)} images"

    def steps(
        self, order: Order, first: int, last: int, say: Callable[[str], None] = print
    ) -> Generator[Ready, None, None]:
        """This rank's data of every step from `first` to before `last`; the caller closes it.

        `say` takes a line if there can be no CUDA graphs.
        """

        def make_batch(samples: PackedSamples) -> Batch:
            return self.preprocess.training_batch(samples, self.seed, self.augment)

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
