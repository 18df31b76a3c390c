"""The input pipeline of torchvision's reference recipe for detection, on the same images.

Source: `references/detection/presets.py` of pytorch/vision, `DetectionPresetTrain` with
`data_augmentation="ssd"`, `backend="tensor"` and `use_v2=True`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ssd.common.sides import both
from ssd.config import ModelConfig
from ssd.structures import Record

Target = dict[str, Tensor]
Example = tuple[Tensor, Target]


def torchvision_chain(model: ModelConfig) -> v2.Compose:
    """The recipe's transforms, followed by the resize and normalisation of its model.

    This is faster than the recipe itself: it resizes 8-bit pixels and normalises the result, while
    the recipe's model does both in float32 and normalises the larger image.
    """
    fill = {tv_tensors.Image: model.pixel_mean, "others": 0}
    mean, std = (
        [number / 255 for number in values] for values in (model.pixel_mean, model.pixel_std)
    )
    return v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill=fill),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(0.5),
            v2.Resize(both(model.input_size), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.SanitizeBoundingBoxes(),
            v2.Normalize(mean, std),
            v2.ToPureTensor(),
        ]
    )


class TorchvisionDataset(Dataset[Example]):
    """Images opened with Pillow, as in torchvision's data sets, and changed by its chain."""

    def __init__(self, records: Sequence[Record], model: ModelConfig) -> None:
        self.records = records
        self.chain = torchvision_chain(model)

    def __getitem__(self, index: int) -> Example:
        record = self.records[index]
        with Image.open(record.path) as image:
            made: Example = self.chain(image.convert("RGB"), target_of(record))
        return made


def target_of(record: Record) -> Target:
    """The objects of an image, as torchvision's transforms take them."""
    wanted = record.trained_on(True)
    boxes: Any = tv_tensors.BoundingBoxes(
        torch.from_numpy(record.boxes[wanted]),
        format="XYXY",
        canvas_size=(record.height, record.width),
    )
    return {"boxes": boxes, "labels": torch.from_numpy(record.labels[wanted])}


def torchvision_batches(
    records: Sequence[Record], batches: Iterable[list[int]], workers: int, model: ModelConfig
) -> Iterator[tuple[Tensor, list[Target]]]:
    """Normalised images [B, 3, S, S] with their targets, made and stacked by workers."""
    loader: DataLoader[Example] = DataLoader(
        TorchvisionDataset(records, model),
        batch_sampler=list(batches),
        num_workers=workers,
        collate_fn=stacked,
    )
    return iter(loader)


def stacked(samples: Sequence[Example]) -> tuple[Tensor, list[Target]]:
    """One tensor of all images; the targets stay a list, since their numbers of boxes differ."""
    images, targets = zip(*samples, strict=True)
    return torch.stack(images), list(targets)
