"""Trains torchvision's SSDLite320 from random weights for some minutes, to compare detectors with.

    python -m benchmarks.ssdlite VOC_FOLDER TRAIN_SPLIT EVAL_SPLIT OUT --minutes 15

OUT/detections.json holds its detections; `ssd evaluate --detections` judges them. Model, loss,
augmentation, optimizer and schedule are those of torchvision's reference script:
`references/detection/README.md`, "SSDlite320 MobileNetV3-Large", and `presets.py` with
`data_augmentation="ssdlite"`. In its favour, images are decoded once, and the CPU computes in
bfloat16. The learning rate is the script's 0.15 for 192 images, scaled to the batch, and falls with
the clock.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.io import decode_image
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.transforms import v2

from benchmarks.peers import Example, target_of
from ssd.commands.status import run
from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.source import load_data
from ssd.evaluation.detections import DetectionTable, write_detections
from ssd.structures import DataSet, Record

BATCH = 16
WARMUP = 1000  # steps, or those of the first epoch if they are fewer


def main(arguments: Sequence[str]) -> int:
    """Trains, detects, and writes the detections; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", help="folder of the data, in VOC format")
    parser.add_argument("train", help="split to train on")
    parser.add_argument("evaluate", help="split to detect on")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--minutes", type=positive, default=15, help="time to train, without start")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args(arguments)
    flags.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(flags.seed)
    data = DataConfig(format="voc", root=flags.root)
    train_data = load_data(data, flags.train, None)
    eval_data = load_data(data, flags.evaluate, train_data.classes)
    model = ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=len(train_data.classes) + 1
    )
    kept = [example_of(record) for record in train_data.records]
    steps = train(model, kept, flags.minutes * 60)
    print(f"{steps:,} steps of {BATCH} images in {flags.minutes:g} minutes")
    write_detections(
        flags.out / "detections.json",
        detect(model.eval(), eval_data),
        eval_data.image_ids,
        eval_data.classes,
    )
    print(f"detections: {flags.out / 'detections.json'}")
    return 0


def positive(text: str) -> float:
    """A number above zero."""
    if not (number := float(text)) > 0:
        raise ValueError
    return number


def train(model: nn.Module, examples: Sequence[Example], seconds: float) -> int:
    """Trains for some seconds by the reference script's loop; returns the number of steps."""
    if len(examples) < BATCH:
        raise UserError(f"{len(examples)} images are too few for a batch of {BATCH}")
    highest = 0.15 * BATCH / 192
    optimizer = torch.optim.SGD(model.parameters(), lr=highest, momentum=0.9, weight_decay=4e-5)
    model.train()
    batches = endless_batches(examples)
    warmup = max(1, min(WARMUP, len(examples) // BATCH))
    start, step = time.perf_counter(), 0
    while (passed := (time.perf_counter() - start) / seconds) < 1:
        images, targets = next(batches)
        rising = min(1.0, (step + 1) / warmup)
        for group in optimizer.param_groups:
            group["lr"] = highest * rising * 0.5 * (1 + math.cos(math.pi * passed))
        with torch.autocast("cpu", torch.bfloat16):
            losses = model(images, targets)
        optimizer.zero_grad()
        torch.autograd.backward(sum(losses.values()))
        optimizer.step()
        step += 1
        if step % 20 == 0:
            print(f"{step:,} steps, {100 * passed:.0f} % of the time", flush=True)
    return step


def endless_batches(examples: Sequence[Example]) -> Iterator[tuple[list[Tensor], list[Any]]]:
    """Batches of augmented images and their targets, in a new order in each epoch."""
    chain = v2.Compose(
        [
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(0.5),
            v2.ToDtype(torch.float32, scale=True),
            v2.SanitizeBoundingBoxes(),
            v2.ToPureTensor(),
        ]
    )
    while True:
        order = torch.randperm(len(examples)).tolist()
        for first in range(0, len(order) - BATCH + 1, BATCH):
            made = [chain(*examples[index]) for index in order[first : first + BATCH]]
            yield [image for image, _ in made], [target for _, target in made]


def example_of(record: Record) -> Example:
    """A decoded image and its objects, as torchvision's transforms take them."""
    image: Any = tv_tensors.Image(decode_image(str(record.path), mode="RGB"))
    return image, target_of(record)


@torch.inference_mode()
def detect(model: nn.Module, data: DataSet) -> DetectionTable:
    """The detections of a data set by a model of torchvision in its evaluation mode."""
    found = []
    for record in data.records:
        image, _ = example_of(record)
        found.append(model([image.float() / 255])[0])
    counts = [len(one["scores"]) for one in found]
    labels, scores, boxes = (
        torch.cat([one[key] for one in found]).numpy() for key in ("labels", "scores", "boxes")
    )
    return DetectionTable(
        np.repeat(np.arange(len(found)), counts),
        labels.astype(np.int64),
        scores.astype(np.float64),
        boxes.astype(np.float64),
    )


if __name__ == "__main__":
    run(main)
