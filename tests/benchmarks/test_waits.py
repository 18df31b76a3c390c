import inspect
import warnings

import pytest
import torch

from benchmarks.waits import WAITED, waits, waits_of_a_step
from ssd.config import ModelConfig


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
def test_a_step_never_waits():
    assert waits_of_a_step(ModelConfig("ssd7", 96), 4, torch.device("cuda")) == []
