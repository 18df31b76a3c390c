"""A detector of two convolutions, for tests that take single steps."""

import itertools

import torch
from torch import nn

from ssd.config import OptimizerConfig
from ssd.geometry.default_boxes import FeatureMap, default_boxes
from ssd.structures import Batch, Predictions
from ssd.training.optimizer import build_optimizer
from ssd.training.step import StepSettings, TrainState

NUM_CLASSES = 4
MAPS = [FeatureMap(4, 8, 8, 14, (2.0,)), FeatureMap(2, 16, 16, 28, (2.0,))]


class TinyDetector(nn.Module):
    """Two convolutions on 32 by 32 pixels; without BatchNorm images are independent."""

    def __init__(self, batch_norm):
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 3, stride=8, padding=1)
        self.norm = nn.BatchNorm2d(8) if batch_norm else nn.Identity()
        self.coarse = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.heads = nn.ModuleList(nn.Conv2d(8, 4 * (NUM_CLASSES + 4), 1) for _ in MAPS)
        self.register_buffer("default_boxes", default_boxes(MAPS, 32))

    def forward(self, images):
        fine = self.norm(self.fine(images)).tanh()
        maps = [fine, self.coarse(fine).tanh()]
        outputs = [
            head(features).permute(0, 2, 3, 1).reshape(len(images), -1, NUM_CLASSES + 4)
            for head, features in zip(self.heads, maps, strict=True)
        ]
        joined = torch.cat(outputs, 1)
        return Predictions(joined[..., :NUM_CLASSES], joined[..., NUM_CLASSES:])


def split(batch: Batch, sizes) -> list[Batch]:
    edges = [0, *itertools.accumulate(sizes)]
    return [
        Batch(batch.images[a:b], batch.boxes[a:b], batch.labels[a:b], batch.image_ids[a:b])
        for a, b in itertools.pairwise(edges)
    ]


def new_state(
    lr: float = 0.1, momentum: float = 0.9, batch_norm: bool = False, dtype=torch.float32
) -> TrainState:
    torch.manual_seed(1)
    model = TinyDetector(batch_norm).to(dtype)
    model.default_boxes = model.default_boxes.float()
    config = OptimizerConfig(lr=lr, momentum=momentum, weight_decay=0.0)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return TrainState(model, build_optimizer(model, config), scaler)


def settings(state: TrainState, lr: float = 0.1, **changes) -> StepSettings:
    rates = torch.tensor([lr], dtype=torch.float64)
    return StepSettings(state.model.default_boxes, rates, **changes)
