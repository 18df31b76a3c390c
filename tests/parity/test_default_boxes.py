"""The default boxes of the models equal those computed with a peer's code."""

import numpy as np
import pytest
import torch

from ssd.config import ModelConfig
from ssd.geometry.default_boxes import default_boxes
from ssd.model.ssd import feature_maps
from ssd.model.vgg import SSD300, SSD512

COCO_SIZES = [21.0, 45, 99, 153, 207, 261, 315]


@pytest.mark.parametrize(
    ("pyramid", "config", "key"),
    [
        (SSD300, ModelConfig("vgg16", 300), "priors_ssd300_voc_noclip"),
        (SSD300, ModelConfig("vgg16", 300, box_sizes=COCO_SIZES), "priors_ssd300_coco_noclip"),
        (SSD512, ModelConfig("vgg16", 512), "priors_ssd512_voc_noclip"),
    ],
)
def test_default_boxes_equal_the_reference(pyramid, config, key, reference):
    boxes = default_boxes(feature_maps(pyramid, config), config.input_size)
    expected = torch.from_numpy(np.load(reference("default_boxes.npz"))[key])
    assert boxes.shape == expected.shape
    assert (boxes - expected).abs().max() < 1e-6
