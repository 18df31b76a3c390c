"""Makes the batches of a step on a GPU as CUDA graphs, which need shapes that stay the same.

Images differ in size, so the pixels of a micro-batch go into one buffer, which the graph reads at
the images' offsets. Their numbers of objects differ too, so these are padded to one of few numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ssd.common.graph import Graphs
from ssd.structures import Batch, PackedSamples, to_device

FEWEST_OBJECTS = 8


class GraphedBatches:
    """Makes batches as `make_batch` does, but for padding; on one stream.

    Args:
        make_batch: augments packed images on the device.
        device: a GPU.
        say: takes a line if there can be no graphs.
    """

    def __init__(
        self,
        make_batch: Callable[[PackedSamples], Batch],
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self._make_batch, self._device, self._say = make_batch, device, say
        self._nothing = torch.empty(0, dtype=torch.uint8, device=device)
        self._use(self._nothing)

    def __call__(self, samples: list[PackedSamples]) -> list[Batch]:
        """The micro-batches of a step; the source of asynchronous copies has to stay."""
        objects = padded_count(max([1, *(packed.boxes.shape[1] for packed in samples)]))
        return [self._made(packed, objects) for packed in samples]

    def _made(self, packed: PackedSamples, objects: int) -> Batch:
        self._place(packed.pixels)
        on_device = to_device(replace(packed, pixels=self._nothing), self._device)
        missing = objects - packed.boxes.shape[1]
        on_device = replace(
            on_device,
            boxes=F.pad(on_device.boxes, (0, 0, 0, missing)),
            labels=F.pad(on_device.labels, (0, missing)),
        )
        return replace(self._graphs(on_device), image_ids=packed.image_ids)

    def _place(self, pixels: Tensor) -> None:
        """Puts the pixels where the graphs read them; those of a device cache are there."""
        if pixels.is_cuda:
            if pixels.data_ptr() != self._pixels.data_ptr():
                self._use(pixels)
            return
        if len(pixels) > len(self._pixels):
            room = 1 << (len(pixels) - 1).bit_length()  # a power of two, so that it seldom grows
            self._use(torch.empty(room, dtype=torch.uint8, device=self._device))
        self._pixels[: len(pixels)].copy_(pixels, non_blocking=True)

    def _use(self, pixels: Tensor) -> None:
        """Makes graphs that read these pixels."""
        self._pixels = pixels
        self._graphs = Graphs[PackedSamples, Batch](
            lambda samples: self._make_batch(replace(samples, pixels=pixels)), self._say
        )


def padded_count(objects: int) -> int:
    """The number of objects that a batch is padded to: 8, or 12, 16, 24, 32, 48 and so on."""
    power = max(FEWEST_OBJECTS, 1 << (objects - 1).bit_length())
    between = power * 3 // 4
    return between if between > FEWEST_OBJECTS and objects <= between else power
