"""More weight for the objects of rare classes.

An object counts as often as if its image were repeated by LVIS's rule: `max(1, sqrt(t / f))` times,
where `f` is the share of the training images that have its class, and `t` the share below which a
class is rare. Source: Gupta et al., LVIS, CVPR 2019, appendix B.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ssd.structures import DataSet


def class_weights(
    data: DataSet, train_difficult: bool, rare_share: float, device: torch.device
) -> Tensor | None:
    """The weight [C] of an object of each class, float32; 1 for the background, which is first.

    Args:
        data: the images to train on.
        train_difficult: whether training uses difficult objects.
        rare_share: share of the images below which a class is rare; 0 for no weights.
        device: of the weights.
    """
    if not rare_share:
        return None
    images_C = np.zeros(len(data.classes) + 1)
    for record in data.records:
        images_C[np.unique(record.labels[record.trained_on(train_difficult)])] += 1
    share_C = images_C / len(data.records)
    weights_C = np.maximum(1, np.sqrt(rare_share / np.where(share_C > 0, share_C, np.inf)))
    weights_C[0] = 1
    return torch.tensor(weights_C, dtype=torch.float32, device=device)
