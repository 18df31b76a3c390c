from types import SimpleNamespace

import pytest
import torch

from benchmarks import feeding
from ssd.config import DataConfig
from ssd.data.shapes import draw_shapes
from ssd.training.prefetch import Ready

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    return clock


def test_the_seconds_of_a_step_are_those_after_the_warm_up(clock):
    def steps():
        for number in range(feeding.WARM_UP + feeding.STEPS):
            slow = 100 if number < feeding.WARM_UP else 1
            clock.now += slow * 0.75
            yield Ready([number], [], waited=slow * 0.25)

    def train(batch):
        trained.append(batch)
        clock.now += 2.0

    trained = []
    assert feeding.train_on(steps(), train, CPU) == (0.25, 0.5, 2.75)
    assert trained == list(range(feeding.WARM_UP + feeding.STEPS))
    assert feeding.take(steps(), CPU) == 0.75
    assert feeding.repeat(None, train, CPU) == 2.0


def test_it_runs_on_the_pipeline_that_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(feeding, "STEPS", 2)
    draw_shapes(tmp_path / "small", 4, 1, seed=1)
    data = DataConfig("voc", str(tmp_path / "small"), train_split="trainval", cache="host")
    fed, unfed, taken = feeding.benchmark_feeding(data, 2, 1, CPU)
    assert fed.startswith("step on the pipeline ")
    assert unfed.startswith("step on one fixed batch ")
    assert "images/s   host memory keeps all 4 images, " in taken
