import pytest
import torch

from ssd.structures import Batch
from tests.unit.training.tiny import NUM_CLASSES


@pytest.fixture
def twelve_images():
    """Images with 0 to 5 objects, so that every split has unequal positives."""
    counts = [3, 0, 1, 5, 2, 1, 4, 1, 1, 2, 5, 1]
    boxes, labels = torch.zeros(12, 5, 4), torch.zeros(12, 5, dtype=torch.int64)
    for image, count in enumerate(counts):
        corners = torch.rand(count, 2) * 0.6
        boxes[image, :count] = torch.cat([corners, corners + 0.1 + 0.3 * torch.rand(count, 2)], 1)
        labels[image, :count] = torch.randint(1, NUM_CLASSES, (count,))
    return Batch(torch.randn(12, 3, 32, 32), boxes, labels, [f"image {i}" for i in range(12)])
