"""Samples for the tests of the augmentation."""

from dataclasses import replace

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def many(pack):
    """2,000 images of 400 x 300 pixels with one object each; no pixels."""
    samples = pack([np.zeros((1, 1, 3), np.uint8)] * 2000, [[(100, 50, 250, 200)]] * 2000)
    return replace(samples, sizes=torch.tensor([[300, 400]]).expand(2000, 2))
