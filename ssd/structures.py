"""The types of the data on its way through the project.

    files ─ data ─► Record ─► Sample ─► PackedSamples ─ augment ─► Batch ─ model ─► Predictions
                                                                     └─ loss ─► Targets ─► LossSums
    LossSums ─ training ─► the step's figures, see `ssd.steps`
    Predictions ─ postprocess ─► Detections ─► evaluation

Letters in the tables: `B` images, `G` ground-truth boxes of an image (padded in a batch),
`P` default boxes, `C` classes with the background, `D` detections of an image, `H`, `W`, `S`
pixels. Boxes are xyxy, continuous and half-open. Label 0 is the background and also marks
padding; classes count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ssd.common.tensors import changed

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Record:
    """One image as its annotation describes it; its pixels have not been read.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | image_id | – | str | the file's stem (VOC), the id's digits (COCO) |
    | path | – | Path | the image file |
    | width, height | – | int | pixels as the model sees them, turned by `orientation` |
    | boxes | [G, 4] | float32 | pixels, 0-based |
    | labels | [G] | int64 | 1 … C−1 |
    | difficult | [G] | bool | VOC's flag |
    | crowd | [G] | bool | COCO's flag: a group of objects in one box, never trained on |
    | orientation | – | int | Exif's number of the turn of the stored pixels; 1 is none |
    """

    image_id: str
    path: Path
    width: int
    height: int
    boxes: FloatArray
    labels: IntArray
    difficult: BoolArray
    crowd: BoolArray
    orientation: int = 1

    def trained_on(self, train_difficult: bool) -> BoolArray:
        """A mask [G] of the objects that training uses."""
        return np.asarray(~self.crowd & (~self.difficult | train_difficult))


@dataclass(frozen=True)
class CocoTruth:
    """The objects of many images by COCO's own values, crowds included; N rows in file order.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | image_index | [N] | int64 | position of the image in the list of images |
    | labels | [N] | int64 | 1 … C−1 |
    | boxes | [N, 4] | float64 | x, y, width, height in pixels, neither clamped nor dropped |
    | areas | [N] | float64 | pixels; the area of the object's outline where COCO has one |
    | crowd | [N] | bool | neither counted nor punished |
    """

    image_index: IntArray
    labels: IntArray
    boxes: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    crowd: BoolArray


@dataclass(frozen=True)
class Doubt:
    """Objects whose boxes make no sense, such as one outside its image.

    Attributes:
        doubtful: their number, never 0.
        objects: the number of all objects of the classes to learn.
        message: one line with the numbers, the likely reason and the first of them.
    """

    doubtful: int
    objects: int
    message: str

    def exceeds(self, most: float) -> bool:
        """True if they are more than this share of the objects; a single one never is."""
        return self.doubtful > max(1, most * self.objects)


@dataclass(frozen=True)
class DataSet:
    """The images of one or more splits, and the meaning of their labels.

    Attributes:
        records: in the order of the files.
        classes: names; label n is `classes[n - 1]`.
        counts: how many objects were read, left out and changed, by the reader's rules.
        category_ids: COCO's id of each class, or None for a class that its files lack; the
            whole field is None if the data is not COCO's.
        truth: the objects as COCO's evaluation counts them; None if the data is not COCO's.
        left_out: the classes of the annotations that are not among `classes`, each with the
            annotation file of every one of its objects.
        repairs: how many entries of the annotations were mended, by the kind of the fault.
        unusable: what is wrong with each image that was left out, in a line.
        doubt: the objects whose boxes make no sense.
        unlabelled: how many images have no label file, which YOLO takes for background.
        missing: the held-out images of the run's division that are not there, in a line; or "".
    """

    records: Sequence[Record]
    classes: tuple[str, ...]
    counts: dict[str, int]
    category_ids: tuple[int | str | None, ...] | None = None
    truth: CocoTruth | None = None
    left_out: dict[str, list[Path]] = field(default_factory=dict)
    repairs: dict[str, int] = field(default_factory=dict)
    unusable: tuple[str, ...] = ()
    doubt: Doubt | None = None
    unlabelled: int = 0
    missing: str = ""

    @property
    def image_ids(self) -> Sequence[int | str]:
        """The names of the images in a file of detections: stems, or COCO's numbers."""
        names = [record.image_id for record in self.records]
        return names if self.category_ids is None else [_as_coco_id(name) for name in names]


def _as_coco_id(name: str) -> int | str:
    """A number as COCO writes it; other tools also have ids with letters or leading zeros."""
    is_number = name.isdecimal() and name.isascii() and str(int(name)) == name
    return int(name) if is_number else name


@dataclass(frozen=True)
class Sample:
    """One decoded image with the objects to train on.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | image_id | – | str | as in its Record |
    | key | – | int | 32 bits of the image id's hash, the key of its random draws |
    | epoch | – | int | the pass over the data that the sample is for |
    | pixels | [H, W, 3] | uint8 | RGB |
    | boxes | [G, 4] | float32 | pixels, 0-based |
    | labels | [G] | int64 | 1 … C−1 |
    | problems | – | tuple[str, …] | about unreadable images, see `DetectionDataset` |
    """

    image_id: str
    key: int
    epoch: int
    pixels: npt.NDArray[np.uint8]
    boxes: FloatArray
    labels: IntArray
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class PackedSamples:
    """The images of one micro-batch, of any size, in one buffer that is moved in one copy.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | pixels | [sum of 3·H·W] | uint8 | the images one after another, each [H, W, 3] RGB |
    | offsets | [B] | int64 | start of each image in `pixels` |
    | sizes | [B, 2] | int64 | (height, width) in pixels |
    | boxes | [B, G, 4] | float32 | pixels; zeros where padded |
    | labels | [B, G] | int64 | 0 where padded |
    | keys, epochs | [B] | int64 | as in Sample; the augmentation is drawn from them |
    | image_ids | B | list[str] | |
    | problems | – | list[str] | messages about unreadable images, of all samples |
    """

    pixels: Tensor
    offsets: Tensor
    sizes: Tensor
    boxes: Tensor
    labels: Tensor
    keys: Tensor
    epochs: Tensor
    image_ids: list[str]
    problems: list[str]

    def pin_memory(self) -> PackedSamples:
        """A copy in page-locked memory; the data loader calls this by name."""
        pinned: PackedSamples = changed(self, Tensor.pin_memory)
        return pinned


@dataclass(frozen=True)
class Batch:
    """A training batch.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | images | [B, 3, S, S] | float32 | normalised RGB, channels_last |
    | boxes | [B, G, 4] | float32 | relative to the image, 0 … 1; zeros where padded |
    | labels | [B, G] | int64 | 0 where padded |
    | image_ids | B | list[str] | |
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor
    image_ids: list[str]


@dataclass(frozen=True)
class Predictions:
    """The output of a model for every default box.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | logits | [B, P, C] | the model's | before the softmax |
    | locations | [B, P, 4] | the model's | offsets from the default boxes, in variances |
    """

    logits: Tensor
    locations: Tensor


@dataclass(frozen=True)
class Targets:
    """The training targets of every default box, and the number of positives.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | labels | [B, P] | int64 | the matched object's class; 0 where unmatched |
    | locations | [B, P, 4] | float32 | the matched object, encoded; undefined where unmatched |
    | eligible | [B, P] | bool | may be mined as a hard negative |
    | num_positives | [B] | float32 | matched default boxes of each image |
    | objects | [B, P] | int64 | place of the matched object in the image; undefined elsewhere |
    """

    labels: Tensor
    locations: Tensor
    eligible: Tensor
    num_positives: Tensor
    objects: Tensor


@dataclass(frozen=True)
class LossSums:
    """The multibox loss of each image as sums; nothing is divided yet.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | class_loss | [B] | float32 | of positives and hard negatives, summed |
    | box_loss | [B] | float32 | of the positives, summed |
    | num_positives | [B] | float32 | matched default boxes of each image |
    """

    class_loss: Tensor
    box_loss: Tensor
    num_positives: Tensor


@dataclass(frozen=True)
class Detections:
    """The detections of one image, best first.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | boxes | [D, 4] | float32 | relative to the image, 0 … 1 |
    | scores | [D] | float32 | softmax probability |
    | labels | [D] | int64 | 1 … C−1 |
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


Moved = TypeVar("Moved", PackedSamples, Batch, Targets)


def to_device(item: Moved, device: torch.device) -> Moved:
    """The same item with every tensor on `device`.

    Copies to a GPU are asynchronous. Copies from it are complete, since the host reads them next.
    """
    on_gpu = device.type == "cuda"
    moved: Moved = changed(item, lambda tensor: tensor.to(device, non_blocking=on_gpu))
    return moved
