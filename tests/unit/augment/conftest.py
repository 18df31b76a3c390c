from collections.abc import Callable

import numpy as np
import pytest
import torch

from ssd.structures import PackedSamples

Pack = Callable[..., PackedSamples]


@pytest.fixture(scope="session")
def pack() -> Pack:
    """Packs images [H, W, 3] with their boxes [G, 4] in pixels; every label is its place + 1."""

    def pack_samples(images, boxes, keys=None, epoch=0, padding=0) -> PackedSamples:
        count = len(images)
        longest = max(len(each) for each in boxes) + padding
        boxes_BG4 = torch.zeros(count, longest, 4)
        labels_BG = torch.zeros(count, longest, dtype=torch.int64)
        for index, each in enumerate(boxes):
            boxes_BG4[index, : len(each)] = torch.as_tensor(np.array(each)).reshape(-1, 4)
            labels_BG[index, : len(each)] = torch.arange(len(each)) + 1
        lengths = torch.tensor([image.size for image in images])
        return PackedSamples(
            pixels=torch.from_numpy(np.concatenate([image.ravel() for image in images])),
            offsets=lengths.cumsum(0) - lengths,
            sizes=torch.tensor([image.shape[:2] for image in images]),
            boxes=boxes_BG4,
            labels=labels_BG,
            keys=torch.arange(count) if keys is None else torch.tensor(keys),
            epochs=torch.full((count,), epoch),
            image_ids=[str(index) for index in range(count)],
            problems=[],
        )

    return pack_samples
