"""A sheet of augmented training images with their objects, made as training makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ssd.augment.batch import preprocess_of
from ssd.augment.library import library_transform
from ssd.common.sides import both
from ssd.config import AugmentConfig, DataConfig, ModelConfig
from ssd.data.dataset import DetectionDataset
from ssd.data.layout import locate
from ssd.data.loader import training_steps
from ssd.data.num_workers import num_workers
from ssd.data.order import Order
from ssd.data.source import load_data
from ssd.report.pictures import Box, Picture, draw, fit
from ssd.structures import Batch, PackedSamples, Record

SHEET = "augmented.png"
EPOCHS = 5  # columns
SIDE = 300  # pixels of an image on the sheet, at least
GAP = 6  # white pixels between images

Pixels = npt.NDArray[np.uint8]


def write_sheet(
    data: DataConfig,
    augment: AugmentConfig,
    model: ModelConfig,
    seed: int,
    out: Path,
    num_images: int,
) -> Path:
    """Writes a row for each image: the image and its boxes in each of the first epochs.

    The images are the first ones that training takes, by its seed.

    Args:
        data: the section of the config.
        augment: the section of the config.
        model: the section of the config.
        seed: of the run.
        out: the folder, which exists.
        num_images: rows; at most as many as there are images.

    Returns:
        The path of the PNG.

    Raises:
        UserError: the data or its augmentation makes no sense.
    """
    data, _ = locate(data)
    loaded = load_data(data, data.train_split, data.classes)
    preprocess = preprocess_of(model, augment)
    rows: dict[str, list[Pixels]] = {}
    for samples in first_epochs(loaded.records, data, augment, seed, num_images):
        batch = preprocess.training_batch(samples, seed, augment)
        # By name: where an image cannot be read, another one stands in, maybe for the second time.
        pictures = {picture.name: picture for picture in shown(batch, loaded.classes, model)}
        for name, picture in pictures.items():
            # At a small input, letters would be as large as the objects.
            large = fit(picture, max(*both(model.input_size), SIDE))
            rows.setdefault(name, []).append(draw(large))
    path = out / SHEET
    cv2.imwrite(str(path), sheet(list(rows.values()))[..., ::-1])
    return path


def first_epochs(
    records: Sequence[Record],
    data: DataConfig,
    augment: AugmentConfig,
    seed: int,
    num_images: int,
) -> Iterator[PackedSamples]:
    """The first images that training takes, once for each of its first epochs."""
    count = min(num_images, len(records))
    (indices,) = Order(len(records), count, 1, 1, seed, drop_last=True).micro_batches(0, 0)
    first = [records[index] for index in indices]
    transform = library_transform(augment, seed)
    dataset = DetectionDataset(first, data.train_difficult, transform=transform)
    order = Order(count, count, 1, 1, seed, drop_last=True)  # a step is an epoch
    workers = num_workers(data.workers, beside="cpu")
    steps = training_steps(dataset, order, 0, EPOCHS, 0, workers, pin_memory=False)
    with closing(steps):
        for (samples,) in steps:
            yield samples


def shown(batch: Batch, classes: Sequence[str], model: ModelConfig) -> Iterator[Picture]:
    """The images of a batch as they can be seen, with their objects."""
    mean_3, std_3 = torch.tensor(model.pixel_mean), torch.tensor(model.pixel_std)
    levels_BSS3 = (batch.images.permute(0, 2, 3, 1) * std_3 + mean_3).round().clamp(0, 255).byte()
    height, width = both(model.input_size)
    corners_BG4 = batch.boxes * torch.tensor([width, height, width, height])
    for name, pixels, corners_G4, labels_G in zip(
        batch.image_ids,
        levels_BSS3.numpy(),
        corners_BG4.tolist(),
        batch.labels.tolist(),
        strict=True,
    ):
        boxes = [
            Box(classes[label - 1], label, tuple(corners))
            for label, corners in zip(labels_G, corners_G4, strict=True)
            if label > 0
        ]
        yield Picture(name, pixels, boxes)


def sheet(rows: Sequence[Sequence[Pixels]]) -> Pixels:
    """Images of one size in rows and columns, white between and around them."""
    height, width = rows[0][0].shape[:2]
    y_step, x_step = height + GAP, width + GAP
    columns = max(len(row) for row in rows)
    canvas = np.full((len(rows) * y_step + GAP, columns * x_step + GAP, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            top, left = GAP + y * y_step, GAP + x * x_step
            canvas[top : top + height, left : left + width] = image
    return canvas
