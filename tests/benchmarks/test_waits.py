import inspect
import warnings

import pytest
import torch

from benchmarks.waits import WAITED, benchmark_waits, waits
from ssd.config import ModelConfig
from ssd.training import step


def test_every_wait_counts_and_nothing_else(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def waiting_twice():
        for _ in range(2):
            warnings.warn(f"{WAITED} (Triggered internally at …)", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    line = inspect.getsourcelines(waiting_twice)[1] + 2
    assert waits(waiting_twice) == [f"test_waits.py:{line}"] * 2
    assert modes == ["warn", "default"]


@pytest.mark.gpu
def test_a_step_waits_once_for_its_finite_check():
    lines, first = inspect.getsourcelines(step.train_step)
    (check,) = (first + at for at, line in enumerate(lines) if "torch.isfinite" in line)
    counted = benchmark_waits(ModelConfig("ssd7", 96), 4, torch.device("cuda"))
    assert counted.endswith(f" 1 (step.py:{check})")
