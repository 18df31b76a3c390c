"""Ends a run of these tests in one line where there is no GPU."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def gpu():
    if not torch.cuda.is_available():
        pytest.exit("torch sees no CUDA device here: check the driver with nvidia-smi", 1)
