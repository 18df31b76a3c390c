"""All parts in their order, with tiny models, batches and images; on a GPU as it is used there."""

import pytest
import torch
from torch import nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

from benchmarks import detecting
from benchmarks.gpu import augmentation, clock, convolutions, parts, pictures, pipelines, steps
from benchmarks.gpu.bars import bars_for
from benchmarks.gpu.rows import Options
from benchmarks.gpu.steps import Model
from ssd.config import ModelConfig
from tests.unit.tape import tape_capture

CPU = torch.device("cpu")
TINY = ModelConfig("ssd7", 96)


class TinyBackbone(nn.Module):
    out_channels = (8,)

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 16, stride=16)

    def forward(self, images):
        return {"0": self.convolution(images)}


def tiny_torchvision(num_classes, **_weights):
    """Torchvision's SSD with one feature map."""
    return SSD(TinyBackbone(), DefaultBoxGenerator([[2]]), (64, 64), num_classes)


@pytest.fixture
def small(monkeypatch):
    """Few calls, small models, batches and images."""
    sizes = {"LARGE": 4, "SMALL": 2, "FEW_WORKERS": 1, "MATMUL_SIZE": 16, "PHOTO": (48, 64)}
    models = {name: Model(getattr(parts, name).name, TINY) for name in ("VGG16", "SSD7")}
    models |= {"RESNET50": Model("ResNet-50", TINY, 5), "MOBILENET": Model("MobileNetV3", TINY)}
    changes = {
        parts: sizes | models,
        clock: {"WARM_UP": 2, "LEAST_CALLS": 1, "HOST_CALLS": 1, "ROUNDS": 1, "SECONDS": 0},
        pipelines: {"WARM_UP": 3, "BETWEEN_READS": 1},
        convolutions: {"SECONDS_OF_ONE": 0},
        pictures: {"COUNT": 8, "DIFFERENT": 2},
        augmentation: {"KERNEL_SIZE": (48, 64)},
        detecting: {"BATCH": 1},
    }
    for module, values in changes.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("benchmarks.training.ssd300_vgg16", tiny_torchvision)


@pytest.fixture
def stand_ins(monkeypatch):
    """Stand-ins for a GPU's graphs, compiler and kernel."""
    monkeypatch.setattr(parts, "gpu", lambda: CPU)
    monkeypatch.setattr(parts, "waits_of_a_step", lambda *_arguments: [])
    monkeypatch.setattr(
        augmentation, "kernel_sides", lambda _device: {"exact": lambda: torch.ones(1)}
    )
    monkeypatch.setattr("torch.compile", lambda function, dynamic: lambda *each: function(*each))
    monkeypatch.setattr("ssd.common.graph.CudaCapture", lambda: tape_capture)
    monkeypatch.setitem(pipelines.CACHES, "device cache", "host")
    monkeypatch.setattr(
        steps, "memory_name", lambda *_arguments: pytest.fail("there is no memory to measure")
    )


def measured(folder):
    """The rows of all parts."""
    options, known, rows = Options("coco", "", "", 1, str(folder)), {}, []
    for part in parts.PARTS.values():
        for row in part.measure(options, known):
            assert row.what not in known
            known[row.what] = row.number
            rows.append(row)
    return rows


def test_the_parts_measure_every_figure_that_has_a_bar(small, stand_ins, tmp_path):
    rows = {row.what: row for row in measured(tmp_path)}
    memory = "peak memory, VGG16, batch 4"
    assert set(bars_for("NVIDIA H200")) - set(rows) == {memory}
    assert all(row.number > 0 for row in rows.values() if row.what != parts.WAITS)
    assert "of the matrix product's rate" in rows["step, SSD7, batch 2, graph"].details
