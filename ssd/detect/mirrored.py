"""Predictions for images and for their mirror images, as those of twice as many default boxes.

Letters: `B` images, `P` default boxes, `C` classes with the background.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ssd.structures import Predictions


def with_mirrored(predict: Callable[[Tensor], Predictions], images: Tensor) -> Predictions:
    """Predictions [B, 2P, …] for images [B, 3, S, S]; the second half is of their mirror images.

    Its offsets are those of the boxes in the images themselves, from `mirrored_boxes`.
    """
    plain, mirrored = predict(images), predict(images.flip(3))
    turned = torch.cat([-mirrored.locations[..., :1], mirrored.locations[..., 1:]], -1)
    return Predictions(
        torch.cat([plain.logits, mirrored.logits], 1), torch.cat([plain.locations, turned], 1)
    )


def mirrored_boxes(default_boxes_P4: Tensor) -> Tensor:
    """The default boxes and their mirror images [2P, 4], in centre form, relative to the image."""
    centre_x, rest = default_boxes_P4[:, :1], default_boxes_P4[:, 1:]
    return torch.cat([default_boxes_P4, torch.cat([1 - centre_x, rest], 1)])
