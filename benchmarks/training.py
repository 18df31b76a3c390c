"""Times a training step, and matching and loss alone, against torchvision's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16
from torchvision.ops import box_iou

from benchmarks.compare import Comparison, Side, compare
from ssd.common.sides import Size, both
from ssd.config import Config, LossConfig, ModelConfig, OptimizerConfig
from ssd.geometry.boxes import to_corner_form
from ssd.loss.matching import match
from ssd.loss.multibox import multibox_loss
from ssd.model.device import autocast_dtype
from ssd.model.ssd import build_model
from ssd.structures import Batch, Predictions
from ssd.training.optimizer import build_optimizer
from ssd.training.step import StepSettings, TrainState, train_step

NUM_CLASSES = 21
SIZE = 300
SSD300 = ModelConfig("vgg16", SIZE)
OBJECTS = 12
LEARNING_RATE = 1e-4


def random_objects(
    batch_size: int, objects: int, device: torch.device, num_classes: int = NUM_CLASSES
) -> tuple[Tensor, Tensor]:
    """Boxes [B, G, 4] with sides of 3 to 43 % of the image's, and labels [B, G]."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(batch_size, objects, 2, generator=generator)
    sides = 0.03 + 0.4 * torch.rand(batch_size, objects, 2, generator=generator)
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], -1).clamp(0, 1)
    labels = torch.randint(1, num_classes, (batch_size, objects), generator=generator)
    return boxes.to(device), labels.to(device)


def random_batch(
    batch_size: int, size: Size, device: torch.device, num_classes: int = NUM_CLASSES
) -> Batch:
    """Images of noise, channels_last as in training, with 12 objects each."""
    boxes, labels = random_objects(batch_size, OBJECTS, device, num_classes)
    images = torch.rand(batch_size, 3, *both(size), generator=torch.Generator().manual_seed(0))
    return Batch(images.to(device, memory_format=torch.channels_last), boxes, labels, [])


def benchmark_step(
    against_torchvision: bool, batch_size: int, rounds: int, device: torch.device
) -> list[Comparison]:
    """Times a training step of SSD300-VGG16: forward, matching, loss, backward, optimizer.

    Compares fp32 and the default training precision with torchvision's model in fp32, the default
    of its reference script.
    """
    batch = random_batch(batch_size, SIZE, device)
    default = autocast_dtype("auto", device)
    sides = {
        "fp32": our_step(SSD300, batch, None),
        f"default ({str(default).removeprefix('torch.')})": our_step(SSD300, batch, default),
    }
    reference = {"torchvision": torchvision_step(batch)} if against_torchvision else {}
    timed = compare("step", sides | reference, rounds, device).seconds
    return [
        Comparison(
            f"step, batch {batch_size}, {side}",
            {"ours": timed[side]} | {name: timed[name] for name in reference},
        )
        for side in sides
    ]


def our_step(config: ModelConfig, batch: Batch, dtype: torch.dtype | None) -> Side:
    """Returns a training step of this project."""
    state, settings = our_state(config, dtype, batch.images.device)
    return lambda: train_step(state, [batch], settings)


def our_state(
    config: ModelConfig,
    dtype: torch.dtype | None,
    device: torch.device,
    num_classes: int = NUM_CLASSES,
) -> tuple[TrainState, StepSettings]:
    """The arguments of `train_step`, as training builds them; the weights are always the same."""
    torch.manual_seed(0)
    model = build_model(config, num_classes)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = TrainState(
        model,
        build_optimizer(model, OptimizerConfig()),
        torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
    )
    rates = torch.full((1,), LEARNING_RATE, dtype=torch.float64, device=device)
    return state, StepSettings(model.default_boxes, rates, Config().loss, None, dtype)


def torchvision_step(batch: Batch, dtype: torch.dtype | None = None) -> Side:
    """Returns a training step of torchvision's model with its reference script's optimizer.

    `dtype` is that of autocast; None for fp32.
    """
    torch.manual_seed(0)
    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=NUM_CLASSES)
    images = batch.images.contiguous()
    model.to(images.device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=5e-4
    )
    pairs = zip(batch.boxes * SIZE, batch.labels, strict=True)
    targets = [{"boxes": image_boxes, "labels": names} for image_boxes, names in pairs]

    def step() -> None:
        with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
            losses = model(list(images), targets)
        optimizer.zero_grad()
        torch.autograd.backward(sum(losses.values()))
        optimizer.step()

    return step


def benchmark_loss(
    against_torchvision: bool, rounds: int, device: torch.device
) -> list[Comparison]:
    """Times matching and loss, forward and backward, on random predictions (8,732 boxes)."""
    results = []
    for batch_size in (8, 32):
        for objects in (12, 60):
            sides = {"ours": our_loss(batch_size, objects, device)}
            if against_torchvision:
                sides["torchvision"] = torchvision_loss(batch_size, objects, device)
            name = f"matching + loss, batch {batch_size}, {objects} boxes"
            results.append(compare(name, sides, rounds, device))
    return results


def random_predictions(batch_size: int, device: torch.device) -> Predictions:
    """Logits and locations of SSD300 with gradients."""
    shape = (batch_size, 8732)
    return Predictions(
        torch.randn(*shape, NUM_CLASSES, device=device, requires_grad=True),
        torch.randn(*shape, 4, device=device, requires_grad=True),
    )


def our_loss(batch_size: int, objects: int, device: torch.device) -> Side:
    """Returns this project's matching and loss, forward and backward."""
    default_boxes = build_model(SSD300, NUM_CLASSES).default_boxes.to(device)
    boxes, labels = random_objects(batch_size, objects, device)
    predictions = random_predictions(batch_size, device)

    def step() -> None:
        targets = match(boxes, labels, default_boxes)
        sums = multibox_loss(predictions, targets, default_boxes, LossConfig())
        total = (sums.class_loss + sums.box_loss).sum()
        torch.autograd.backward(total / sums.num_positives.sum().clamp(min=1))

    return step


def torchvision_loss(batch_size: int, objects: int, device: torch.device) -> Side:
    """Returns torchvision's matching and loss, as its `SSD.forward` calls them."""
    model: Any = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=NUM_CLASSES)
    default_boxes = build_model(SSD300, NUM_CLASSES).default_boxes.to(device)
    anchors = [to_corner_form(default_boxes) * SIZE] * batch_size
    boxes, labels = random_objects(batch_size, objects, device)
    pairs = zip(boxes * SIZE, labels, strict=True)
    targets = [{"boxes": image_boxes, "labels": names} for image_boxes, names in pairs]
    predictions = random_predictions(batch_size, device)
    outputs = {"cls_logits": predictions.logits, "bbox_regression": predictions.locations}

    def step() -> None:
        matched = [
            model.proposal_matcher(box_iou(target["boxes"], image_anchors))
            for target, image_anchors in zip(targets, anchors, strict=True)
        ]
        losses = model.compute_loss(targets, outputs, anchors, matched)
        torch.autograd.backward(sum(losses.values()))

    return step
