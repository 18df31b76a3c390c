"""Records → Samples → PackedSamples: decoded images with their objects, packed for the device."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from ssd.common.errors import UserError
from ssd.data.cache import HostCache, Pixels
from ssd.data.image import read_pixels
from ssd.data.stand_in import first_readable
from ssd.structures import PackedSamples, Record, Sample

BLANK: Pixels = np.zeros((8, 8, 3), np.uint8)


class Request(NamedTuple):
    """An image that is wanted, and the pass over the data that wants it."""

    epoch: int
    image_index: int


class DetectionDataset(Dataset[Sample]):
    """The images of some records, decoded on request."""

    def __init__(
        self,
        records: Sequence[Record],
        train_difficult: bool,
        strict: bool = False,
        cache: HostCache | None = None,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            records: the images.
            train_difficult: whether Samples contain objects marked `difficult`.
            strict: whether no other image stands in for an unreadable one, as an evaluation needs
                it. Every Sample then has one problem, empty if the image was read; the pixels of
                an unreadable one are blank.
            cache: of the decoded images, by their positions in `records`.
            transform: changes every Sample once it is decoded.
        """
        self.records = records
        self.train_difficult = train_difficult
        self.strict = strict
        self.cache = cache
        self.transform = transform

    def __len__(self) -> int:
        """The number of images."""
        return len(self.records)

    def __getitem__(self, request: Request) -> Sample:
        """The wanted image, or the one that stands in for it by `first_readable`.

        `Sample.problems` tells of every unreadable image on the way.

        Raises:
            UserError: no image can be read and the dataset is not strict; the transform fails.
        """
        index = request.image_index
        if self.strict:
            try:
                pixels, problems = self._pixels(index), [""]
            except UserError as error:
                pixels, problems = BLANK, [str(error)]
        else:
            index, pixels, problems = first_readable(index, len(self.records), self._pixels)
        sample = self.to_sample(self.records[index], request.epoch, pixels, tuple(problems))
        return sample if self.transform is None else self.transform(sample)

    def _pixels(self, index: int) -> Pixels:
        kept = self.cache.get(index) if self.cache else None
        if kept is not None:
            return kept
        pixels = read_pixels(self.records[index])
        if self.cache:
            self.cache.put(index, pixels)
        return pixels

    def to_sample(
        self, record: Record, epoch: int, pixels: Pixels, problems: tuple[str, ...] = ()
    ) -> Sample:
        """A record's image with the objects that training sees."""
        wanted = record.trained_on(self.train_difficult)
        return Sample(
            image_id=record.image_id,
            key=zlib.crc32(record.image_id.encode()),
            epoch=epoch,
            pixels=pixels,
            boxes=record.boxes[wanted],
            labels=record.labels[wanted],
            problems=problems,
        )


def pack(samples: Sequence[Sample]) -> PackedSamples:
    """Samples of any sizes in one buffer, their boxes padded to the most that one of them has.

    No samples at all give a pack of zero images; G is at least 1.
    """
    num_boxes = max([1, *(len(sample.labels) for sample in samples)])
    boxes = torch.zeros(len(samples), num_boxes, 4)
    labels = torch.zeros(len(samples), num_boxes, dtype=torch.int64)
    for row, sample in enumerate(samples):
        boxes[row, : len(sample.labels)] = torch.from_numpy(sample.boxes)
        labels[row, : len(sample.labels)] = torch.from_numpy(sample.labels)
    lengths = np.array([0, *(sample.pixels.size for sample in samples)])
    sizes = [sample.pixels.shape[:2] for sample in samples]
    pixels = [np.empty(0, np.uint8), *(sample.pixels.ravel() for sample in samples)]
    return PackedSamples(
        pixels=torch.from_numpy(np.concatenate(pixels)),
        offsets=torch.from_numpy(lengths.cumsum()[:-1]),
        sizes=torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2),
        boxes=boxes,
        labels=labels,
        keys=torch.tensor([sample.key for sample in samples], dtype=torch.int64),
        epochs=torch.tensor([sample.epoch for sample in samples], dtype=torch.int64),
        image_ids=[sample.image_id for sample in samples],
        problems=[problem for sample in samples for problem in sample.problems],
    )
