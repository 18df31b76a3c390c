import pytest
import torch
from torchvision.models.detection import ssd300_vgg16

from ssd.config import ModelConfig
from ssd.model.foreign import (
    COCO_CATEGORIES,
    COCO_CLASSES,
    VOC_CLASSES,
    reduced_vgg_name,
    ssd_pytorch_name,
    to_torchvision_ssd300,
    torchvision_name,
)
from ssd.model.ssd import build_model


def shapes(state):
    return {name: tensor.shape for name, tensor in state.items()}


def test_every_tensor_of_torchvisions_model_has_one_of_ours():
    with torch.device("meta"):
        theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=5).state_dict()
        ours = build_model(ModelConfig("vgg16", 300), 5).state_dict()
    assert shapes(to_torchvision_ssd300(ours)) == shapes(theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("backbone.features.21.bias", "backbone.features.21.bias"),
        ("backbone.features.28.weight", "backbone.extra.0.5.weight"),
        ("backbone.fc.3.weight", "backbone.extra.0.7.3.weight"),
        ("backbone.extras.3.2.bias", "backbone.extra.4.2.bias"),
        ("backbone.conv4_3_norm.weight", "backbone.scale_weight"),
        ("head.logits.5.bias", "head.classification_head.module_list.5.bias"),
        ("head.locations.0.weight", "head.regression_head.module_list.0.weight"),
    ],
)
def test_torchvision_names(ours, theirs):
    assert torchvision_name(ours) == theirs


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("backbone.features.28.weight", "vgg.28.weight"),
        ("backbone.fc.1.weight", "vgg.31.weight"),
        ("backbone.fc.3.bias", "vgg.33.bias"),
        ("backbone.conv4_3_norm.weight", "L2Norm.weight"),
        ("backbone.extras.0.0.weight", "extras.0.weight"),
        ("backbone.extras.3.2.bias", "extras.7.bias"),
        ("backbone.extras.4.2.bias", "extras.9.bias"),
        ("head.logits.5.bias", "conf.5.bias"),
        ("head.locations.0.weight", "loc.0.weight"),
    ],
)
def test_ssd_pytorch_names(ours, theirs):
    assert ssd_pytorch_name(ours) == theirs


def test_the_reduced_vgg_has_bare_numbers():
    assert reduced_vgg_name("backbone.features.0.weight") == "0.weight"
    assert reduced_vgg_name("backbone.fc.1.bias") == "31.bias"


def test_class_lists_are_those_of_the_data_sets():
    assert len(VOC_CLASSES) == 20
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)
    assert len(COCO_CATEGORIES) == 90
    assert len(COCO_CLASSES) == 80
    assert COCO_CATEGORIES[16] == "cat"
    assert (COCO_CLASSES[0], COCO_CLASSES[79]) == ("person", "toothbrush")
