from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import clock, pictures, pipelines, steps
from benchmarks.gpu.convolutions import convolutions, operations_of_all, seconds_of_all
from benchmarks.gpu.pipelines import ALONE, Pace
from benchmarks.gpu.steps import MOBILENET, RESNET50, SSD7, VGG16, Model
from benchmarks.training import random_batch
from ssd.config import ModelConfig
from ssd.data.image import read_pixels
from ssd.model.ssd import build_model
from ssd.structures import DataSet
from ssd.training.prefetch import Ready

CPU = torch.device("cpu")
TINY = Model("tiny", ModelConfig("ssd7", 96))


@pytest.fixture
def now(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("time.perf_counter", lambda: now.seconds)
    return now


@pytest.mark.parametrize("model", [VGG16, RESNET50, SSD7], ids=lambda model: model.name)
def test_the_operations_of_a_step_are_those_that_pytorch_counts(model):
    network = build_model(model.config, model.num_classes).to("meta")
    with FlopCounterMode(display=False) as counter:
        predictions = network(torch.empty(2, 3, 300, 300, device="meta"))
        torch.autograd.backward(predictions.logits.sum() + predictions.locations.sum())
    found = operations_of_all(convolutions(model.config, model.num_classes, 2))
    assert found == counter.get_total_flops()


def test_the_operations_of_depthwise_convolutions():
    """PyTorch counts their forward pass; in the backward pass it forgets the groups."""
    network = build_model(MOBILENET.config, 21).to("meta")
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(2, 3, 320, 320, device="meta"))
    found = convolutions(MOBILENET.config, 21, 2)
    forward = {each: each.operations / (3 if each.to_input else 2) for each in found}
    assert sum(count * forward[each] for each, count in found.items()) == counter.get_total_flops()
    assert max(each.groups for each in found) > 1


def test_every_convolution_of_a_step_is_timed_once_for_each_time_it_comes(monkeypatch):
    found = convolutions(VGG16.config, VGG16.num_classes, 4)
    assert found.total() == 15 + 8 + 12  # conv1_1 … fc7, the extra layers, the head
    first = [each for each in found if not each.to_input]
    assert [(each.images, each.weight) for each in first] == [((4, 3, 300, 300), (64, 3, 3, 3))]
    (fc6,) = (each for each in found if each.dilation == (6, 6))
    assert (fc6.images, fc6.weight, fc6.padding) == ((4, 512, 19, 19), (1024, 512, 3, 3), (6, 6))
    monkeypatch.setattr("benchmarks.gpu.convolutions.seconds_alone", lambda *_arguments: 2.0)
    assert seconds_of_all(found, torch.float32, CPU) == 70


def test_the_time_of_a_call_is_a_median_after_the_warm_up(now, monkeypatch):
    taken = iter([100.0] * clock.WARM_UP + [0.2] + [0.1, 0.1] + [0.3, 0.1] + [0.4, 0.8])

    def call():
        now.seconds += next(taken)

    monkeypatch.setattr(clock, "LEAST_CALLS", 2)
    assert clock.seconds_per_call(call, CPU, 0.41) == pytest.approx(0.2)
    assert next(taken, None) is None


def test_the_time_of_the_host_ends_before_that_of_the_device(now, monkeypatch):
    def wait(_device):
        now.seconds += 10

    def call():
        now.seconds += 0.25

    monkeypatch.setattr(clock, "synchronize", wait)
    assert clock.host_seconds(call, CPU) == 0.25
    assert clock.timed(call, 4, CPU) == (10 + 4 * 0.25) / 4


def test_a_step_that_cannot_be_a_graph_or_compiled_is_not_measured_as_one(monkeypatch):
    def fails(*_arguments, **_others):
        raise RuntimeError("capture failed")

    monkeypatch.setattr("ssd.common.graph.CudaCapture", lambda: fails)
    step = steps.training_step(TINY, 2, "graph", CPU)
    batches = [random_batch(2, 96, CPU)]
    step(batches)
    with pytest.raises(RuntimeError, match="no CUDA graph, so steps are slower: capture failed"):
        step(batches)
    monkeypatch.setattr("torch.compile", lambda *_arguments, **_others: fails)
    with pytest.raises(RuntimeError, match="the model is not compiled, so steps are slower"):
        steps.training_step(TINY, 2, "compiled + graph", CPU)


def test_the_pace_of_training_is_that_after_the_warm_up(now, monkeypatch):
    def batches():
        for number in range(1000):
            now.seconds += 0.25
            yield Ready([number], [], waited=0.125)

    def take(batches):
        taken.append(batches[0])
        now.seconds += 100 if len(taken) <= pipelines.WARM_UP else 0.75

    monkeypatch.setattr(clock, "SECONDS", 6)
    taken = []
    assert pipelines.fed(batches(), take, CPU) == Pace(1.0, 0.125)
    # Each round goes on until 12 seconds are over, and looks after every 10 steps.
    assert len(taken) == pipelines.WARM_UP + clock.ROUNDS * 20


@pytest.mark.parametrize(
    ("alone", "share", "unit"),
    [
        (None, 80, "% of the fixed batch"),
        (9.0, 80, "% of the fixed batch"),
        (5.0, 100 * 4 / 4.5, "% of nine tenths of the workers alone"),
    ],
)
def test_the_files_are_measured_by_what_the_workers_can_decode(monkeypatch, alone, share, unit):
    monkeypatch.setattr(pipelines, "training_step", lambda *_arguments: None)
    monkeypatch.setattr(pipelines, "new_feed", lambda *_arguments: Feed())
    monkeypatch.setattr(pipelines, "fed", lambda *_arguments: Pace(0.5, 0.125))
    monkeypatch.setattr(clock, "seconds_per_call", lambda *_arguments: 0.4)

    class Feed:
        def steps(self, *_arguments):
            return None

    known = {} if alone is None else {ALONE: alone}
    data = DataSet([None] * 4, ("one",), {})
    sources = ["host cache", "JPEG files"]
    fixed, host, files = pipelines.time_pipelines(SSD7, 2, "graph", data, 1, sources, CPU, known)
    assert (fixed.number, fixed.unit) == (5.0, "images/s")
    assert (host.number, host.unit) == (80.0, "% of the fixed batch")
    assert (files.number, files.unit) == (pytest.approx(share), unit)
    assert files.details == "4 images/s; data wait 125.00 of 500.00 ms (25.0%)"


def test_the_drawn_pictures_are_as_large_as_photographs_and_drawn_once(tmp_path):
    data = pictures.drawn(tmp_path / "pictures", 3)
    files = [record.path for record in data.records]
    assert all(120_000 < file.stat().st_size < 220_000 for file in files)
    times = [file.stat().st_mtime_ns for file in files]
    again = pictures.drawn(tmp_path / "pictures", 3)
    assert [file.stat().st_mtime_ns for file in files] == times
    for record, same in zip(data.records, again.records, strict=True):
        assert read_pixels(record).shape == (480, 640, 3)
        assert (record.boxes == same.boxes).all()
        left, top, right, bottom = record.boxes.T
        assert (left < right).all()
        assert (top < bottom).all()
        assert record.boxes.min() >= 0
        assert right.max() <= 640
        assert bottom.max() <= 480
        assert 1 <= record.labels.min() <= record.labels.max() <= len(data.classes)
