"""A whole training set, decoded, in the memory of a device: nothing is read or copied any more.

The set is one PackedSamples. A micro-batch has the same `pixels`, the whole set's, and offsets
that point to its own images, which the augmentation reads where they are.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ssd.common.errors import UserError
from ssd.common.progress import Progress
from ssd.data.cache import image_bytes
from ssd.data.dataset import DetectionDataset, pack
from ssd.data.image import read_pixels
from ssd.data.loader import read_ahead, room_for
from ssd.data.order import Order
from ssd.data.stand_in import first_readable
from ssd.structures import PackedSamples, Record, to_device


@dataclass(frozen=True)
class Decoded:
    """The pixels [H, W, 3] of an image, uint8, or, where they are none, what is wrong with it."""

    pixels: Tensor
    problem: str = ""


@dataclass(frozen=True)
class DeviceCache:
    """The images of a data set, and who stands in for those that cannot be read.

    Attributes:
        samples: all images in the order of the records, on the device.
        num_boxes: objects of each image.
        problems: what is wrong with an image, by its position.
    """

    samples: PackedSamples
    num_boxes: list[int]
    problems: dict[int, str]

    def micro_batch(self, indices: list[int], epoch: int) -> PackedSamples:
        """The pack that the workers would make of these images, with the pixels where they are."""
        whole, count = self.samples, len(self.num_boxes)
        found = [first_readable(index, count, self.check_readable) for index in indices]
        images = [image for image, _, _ in found]
        rows = torch.tensor(images, dtype=torch.int64)
        if whole.pixels.is_cuda:
            rows = rows.pin_memory().to(whole.pixels.device, non_blocking=True)
        most = max([1, *(self.num_boxes[image] for image in images)])
        return PackedSamples(
            pixels=whole.pixels,
            offsets=whole.offsets[rows],
            sizes=whole.sizes[rows],
            boxes=whole.boxes[rows, :most],
            labels=whole.labels[rows, :most],
            keys=whole.keys[rows],
            epochs=torch.full_like(rows, epoch),
            image_ids=[whole.image_ids[image] for image in images],
            problems=[problem for _, _, problems in found for problem in problems],
        )

    def steps(
        self, order: Order, first_step: int, last_step: int, rank: int
    ) -> Generator[list[PackedSamples], None, None]:
        """The micro-batches of `ssd.data.loader.training_steps`."""
        for step in range(first_step, last_step):
            epoch, _ = order.position(step)
            yield [self.micro_batch(part, epoch) for part in order.micro_batches(step, rank)]

    def check_readable(self, index: int) -> None:
        """Raises a UserError for an image that could not be read."""
        if index in self.problems:
            raise UserError(self.problems[index])


def decode_onto(
    device: torch.device, dataset: DetectionDataset, budget: int, workers: int, show_progress: bool
) -> DeviceCache:
    """Decodes all images of a data set and puts them on the device.

    Raises:
        UserError: they take more than `budget` bytes or the device has; or none can be read.
    """
    records = dataset.records
    sizes = image_bytes(records)
    ends = sizes.cumsum()
    pixels = _room(int(sizes.sum()), budget, device)
    problems: dict[int, str] = {}
    images = read_ahead(
        lambda index, _memory: _decoded(records[index]),
        range(len(records)),
        workers,
        pin_memory=False,
        capacity=room_for(records, 1),
    )
    progress = Progress("decoding", len(records), "image", hidden=not show_progress)
    with closing(images), progress:
        for index, image in enumerate(images):
            if image.problem:
                problems[index] = image.problem
            else:
                pixels[ends[index] - sizes[index] : ends[index]].copy_(image.pixels.view(-1))
            progress.advance()
    objects = [dataset.to_sample(record, 0, np.empty((0, 0, 3), np.uint8)) for record in records]
    samples = replace(
        pack(objects),
        offsets=torch.from_numpy(ends - sizes),
        sizes=torch.tensor([(record.height, record.width) for record in records]),
    )
    samples = replace(to_device(samples, device), pixels=pixels)
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # whatever stream reads it
    cache = DeviceCache(samples, [len(sample.labels) for sample in objects], problems)
    first_readable(0, len(records), cache.check_readable)
    return cache


def _decoded(record: Record) -> Decoded:
    try:
        return Decoded(torch.from_numpy(read_pixels(record)))
    except UserError as error:
        return Decoded(torch.empty(0, dtype=torch.uint8), str(error))


def _room(needed: int, budget: int, device: torch.device) -> Tensor:
    """So many bytes of the device's memory."""
    takes = f"data.cache device takes {needed / 1e9:.2f} GB for the whole training set"
    lacks = "does not have that much free memory"
    advice = "data.cache host keeps as many images as fit"
    if needed > budget:
        raise UserError(f"{takes}, but data.cache_gb is {budget / 1e9:g}: raise it; {advice}")
    try:
        return torch.empty(needed, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError:
        raise UserError(f"{takes}, but {device} {lacks}: {advice}") from None
