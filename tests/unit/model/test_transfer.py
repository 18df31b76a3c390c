"""Every layout of a file, into models that it fits and models that it does not."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import resnet50, vgg16
from torchvision.models.detection import ssd300_vgg16

from ssd.common.errors import UserError
from ssd.config import ModelConfig
from ssd.model import weights
from ssd.model.foreign import COCO_CATEGORIES, VOC_CLASSES, own_name, ssd_pytorch_name
from ssd.model.ssd import build_model
from ssd.model.transfer import load_classifier, load_detector, load_fc
from ssd.model.weights import load_weights

SSD_PYTORCH = ModelConfig(
    "vgg16",
    300,
    "ssd.pth",
    clamp_boxes=True,
    pixel_mean=[123.0, 117.0, 104.0],
    pixel_std=[1.0, 1.0, 1.0],
)
TORCHVISION = replace(SSD_PYTORCH, box_sizes=[21.0, 45, 99, 153, 207, 261, 315])
VGG_CONVOLUTIONS = {
    **{0: (64, 3, 3), 2: (64, 64, 3), 5: (128, 64, 3), 7: (128, 128, 3), 10: (256, 128, 3)},
    **{12: (256, 256, 3), 14: (256, 256, 3), 17: (512, 256, 3), 19: (512, 512, 3)},
    **{21: (512, 512, 3), 24: (512, 512, 3), 26: (512, 512, 3), 28: (512, 512, 3)},
    **{31: (1024, 512, 3), 33: (1024, 1024, 1)},
}
EXTRAS = {
    **{0: (256, 1024, 1), 1: (512, 256, 3), 2: (128, 512, 1), 3: (256, 128, 3)},
    **{4: (128, 256, 1), 5: (256, 128, 3), 6: (128, 256, 1), 7: (256, 128, 3)},
}
BOXES = ((4, 512), (6, 1024), (6, 512), (6, 256), (4, 256), (4, 256))


@pytest.fixture
def load(monkeypatch):
    """Loads tensors as if a file held them; returns the model and what is told."""

    def load_given(state, config, classes):
        monkeypatch.setattr(weights, "read_state_dict", lambda path: state)
        model = build_model(config, len(classes) + 1)
        return model, load_weights(model, config, classes)

    return load_given


def convolutions(prefix, shapes):
    state = {}
    for index, (filters, channels, kernel) in shapes.items():
        state[f"{prefix}{index}.weight"] = torch.rand(filters, channels, kernel, kernel)
        state[f"{prefix}{index}.bias"] = torch.rand(filters)
    return state


def ssd_pytorch_state(num_outputs):
    conf = {i: (K * num_outputs, channels, 3) for i, (K, channels) in enumerate(BOXES)}
    loc = {i: (K * 4, channels, 3) for i, (K, channels) in enumerate(BOXES)}
    return {
        **convolutions("vgg.", VGG_CONVOLUTIONS),
        "L2Norm.weight": torch.rand(512),
        **convolutions("extras.", EXTRAS),
        **convolutions("loc.", loc),
        **convolutions("conf.", conf),
    }


def assert_rows(own, given, boxes, rows):
    """Kept rows are the file's, row by row."""
    num_classes, outputs = len(own) // boxes, len(given) // boxes
    for box in range(boxes):
        for row, source in rows.items():
            assert torch.equal(own[box * num_classes + row], given[box * outputs + source])


def test_a_file_of_ssd_pytorch_fills_the_model(load):
    state = ssd_pytorch_state(21)
    model, told = load(state, SSD_PYTORCH, ["tram", "tvmonitor", "aeroplane"])
    own = model.state_dict()
    assert told == "ssd.pth (classes kept: tvmonitor, aeroplane; fresh: tram)"
    for ours, theirs in {
        "backbone.features.28.weight": "vgg.28.weight",
        "backbone.fc.1.weight": "vgg.31.weight",
        "backbone.fc.3.bias": "vgg.33.bias",
        "backbone.conv4_3_norm.weight": "L2Norm.weight",
        "backbone.extras.3.2.weight": "extras.7.weight",
        "head.locations.5.weight": "loc.5.weight",
    }.items():
        assert torch.equal(own[ours], state[theirs]), ours
    for index, (boxes, _) in enumerate(BOXES):
        for kind in ("weight", "bias"):
            ours, theirs = own[f"head.logits.{index}.{kind}"], state[f"conf.{index}.{kind}"]
            assert_rows(ours, theirs, boxes, {0: 0, 2: 20, 3: 1})
    assert (own["head.logits.0.bias"][1::4] == 0).all()


@pytest.mark.parametrize(
    ("outputs", "classes", "told"),
    [
        (81, ["toothbrush"], "classes kept: toothbrush"),
        (21, [f"class {i}" for i in range(20)], "all classes fresh: class 0"),
        (4, ["a", "b", "c"], "classes kept in the file's order: a, b, c"),
        (4, ["a", "b"], "all classes fresh: a, b"),
    ],
)
def test_what_is_known_of_classes_depends_on_their_number(outputs, classes, told, load):
    state = ssd_pytorch_state(outputs)
    config = TORCHVISION if outputs == 81 else SSD_PYTORCH
    model, found = load(state, config, classes)
    assert told in found
    row = outputs - 1 if "kept" in told else 0
    last = model.head.logits[0].bias[len(classes) if row else 0]
    assert last == state["conf.0.bias"][row]


@pytest.mark.parametrize(("outputs", "needed"), [(21, "30.0, 60.0"), (81, "21.0, 45.0")])
def test_a_file_of_ssd_pytorch_wants_the_boxes_of_its_data(outputs, needed, load):
    config = SSD_PYTORCH if outputs == 81 else TORCHVISION
    with pytest.raises(UserError, match=rf"box_sizes is .* need \[{needed}.*docs/weights.md"):
        load(ssd_pytorch_state(outputs), config, ["cat"])


def test_a_file_of_torchvision_names_its_coco_classes(load):
    state = ssd300_vgg16(weights=None, weights_backbone=None).state_dict()
    bias = state["head.classification_head.module_list.0.bias"]
    bias.copy_(torch.arange(len(bias)))
    model, told = load(state, TORCHVISION, ["N/A", "toothbrush", "person"])
    assert told == "ssd.pth (classes kept: toothbrush, person; fresh: N/A)"
    assert model.head.logits[0].bias.view(4, 4)[1].tolist() == [91, 0, 181, 92]
    assert COCO_CATEGORIES[89] == "toothbrush"


def test_the_reduced_vgg_fills_the_backbone_up_to_fc7(load):
    state = convolutions("", VGG_CONVOLUTIONS)
    model, told = load(state, replace(SSD_PYTORCH, clamp_boxes=False), ["a"])
    assert told == "ssd.pth (the backbone with fc6 and fc7)"
    assert torch.equal(model.backbone.features[28].weight, state["28.weight"])
    assert torch.equal(model.backbone.fc[1].weight, state["31.weight"])
    assert torch.equal(model.backbone.fc[3].bias, state["33.bias"])


def test_a_resnet_fills_the_backbone_up_to_layer3(load):
    state = resnet50(weights=None).state_dict()
    state["layer3.5.bn3.running_mean"] += 1
    model, told = load(state, ModelConfig("resnet50", 300, "resnet.pth"), ["a"])
    assert told == "resnet.pth (the backbone)"
    own = model.backbone.features.state_dict()
    assert len(own) > 200
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.items())


def test_fully_connected_layers_that_are_not_finite_are_left_out():
    """As in torchvision's VGG16_Weights.IMAGENET1K_FEATURES; they take no memory here."""
    with torch.device("meta"):
        shapes = {name: t.shape for name, t in vgg16(weights=None).state_dict().items()}
    state = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    model = build_model(ModelConfig("vgg16", 300), 2)
    before = model.backbone.fc[1].weight.clone()
    bad = {**state, "classifier.3.bias": torch.full([1], torch.nan).expand(4096)}
    told = load_classifier(model.backbone, bad, "weights")
    assert told == "the backbone without fc6 and fc7, which are not finite"
    assert torch.equal(model.backbone.fc[1].weight, before)
    assert model.backbone.features[0].weight.abs().max() == 0
    assert load_classifier(model.backbone, state, "weights") == "the backbone with fc6 and fc7"
    assert model.backbone.fc[1].weight.abs().max() == 0
    features = {name: state[name] for name in state if name.startswith("features.")}
    told = load_classifier(model.backbone, features, "weights")
    assert told == "the backbone without fc6 and fc7"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("backbone", "vgg16_bn"),
        ("input_size", 512),
        ("box_sizes", None),
        ("aspect_ratios", [2.0]),
        ("clamp_boxes", False),
        ("pixel_mean", [123.675, 116.28, 103.53]),
        ("pixel_std", [58.395, 57.12, 57.375]),
    ],
)
def test_torchvisions_detector_needs_its_settings(setting, value, monkeypatch):
    state = {"head.classification_head.module_list.0.weight": torch.zeros(1)}
    monkeypatch.setattr(weights, "read_state_dict", lambda path: state)
    config = replace(TORCHVISION, **{setting: value})
    with pytest.raises(UserError, match=rf"model\.{setting} is ") as caught:
        load_weights(None, config, ["a"])
    assert "configs/torchvision_weights.yaml" in str(caught.value)
    assert ("null" if value is None else str(value)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "changed", "message"),
    [
        (["vgg.0.weight"], {"clamp_boxes": False}, "clamp_boxes is False, .* need True"),
        (["vgg.0.weight"], {"input_size": 512}, "input_size is 512, .* need 300"),
        (["vgg.0.weight", "extras.8.weight"], {}, "input_size is 300, .* need 512"),
        (["0.weight"], {"pixel_std": [58.0, 57.0, 57.0]}, r"pixel_std is \[58.0.* need \[1.0"),
    ],
)
def test_caffes_weights_need_their_settings(keys, changed, message, monkeypatch):
    state = {key: torch.zeros(1) for key in keys}
    monkeypatch.setattr(weights, "read_state_dict", lambda path: state)
    with pytest.raises(UserError, match=message):
        load_weights(None, replace(SSD_PYTORCH, **changed), ["a"])


def test_misfits_of_a_detector_are_named_as_in_the_file_and_change_nothing():
    model = build_model(SSD_PYTORCH, 21)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = ssd_pytorch_state(21)
    state["priors"] = torch.zeros(3)
    state["extras.1.weight"] = torch.zeros(2)
    state["conf.0.bias"] = torch.zeros(85)
    with pytest.raises(UserError) as caught:
        load_detector(model, state, ssd_pytorch_name, {}, VOC_CLASSES, "model.weights ssd.pth")
    assert str(caught.value) == (
        "model.weights ssd.pth: the file has unknown priors, has extras.1.weight of [2] for "
        "[512, 256, 3, 3], has conf.0.bias of [85] for [84]: give weights that belong to "
        "model.backbone at model.input_size"
    )
    del state["conf.0.bias"]
    with pytest.raises(UserError, match=r"lacks conf\.0\.bias"):
        load_detector(model, state, ssd_pytorch_name, {}, VOC_CLASSES, "model.weights ssd.pth")
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


@pytest.mark.parametrize("backbone", ["ssd7", "mobilenet_v3_large"])
def test_a_model_of_ours_gives_all_but_the_rows_of_other_classes(backbone):
    config = ModelConfig(backbone, 96)
    trained, fresh = build_model(config, 4), build_model(config, 3)
    state, before = trained.state_dict(), {n: t.clone() for n, t in fresh.state_dict().items()}
    known = {4: ["a", "b", "c"]}
    told = load_detector(fresh, state, own_name, known, ["c", "x"], "model.weights run")
    assert told == "classes kept: c; fresh: x"
    own = fresh.state_dict()
    different = {name for name in own if own[name].shape != state[name].shape}
    assert len(different) == 2 * len(fresh.head.logits)
    for name in own:
        if name in different:
            boxes = len(own[name]) // 3
            assert_rows(own[name], state[name], boxes, {0: 0, 1: 3})
            assert torch.equal(own[name][2::3], before[name][2::3])
        else:
            assert torch.equal(own[name], state[name]), name


def test_another_model_of_ours_is_refused():
    state = build_model(ModelConfig("ssd7", 96), 3).state_dict()
    other = build_model(ModelConfig("mobilenet_v3_large", 96), 3)
    with pytest.raises(UserError, match=r"has unknown backbone\.stem.* belong to model.backbone"):
        load_detector(other, state, own_name, {}, ["a", "b"], "model.weights run")


def test_fc6_and_fc7_are_the_subsampled_fully_connected_layers():
    """Each kept number says where it came from."""
    fc = nn.Sequential(nn.Conv2d(512, 1024, 3), nn.ReLU(), nn.Conv2d(1024, 1024, 1))
    first = torch.zeros(4096, 512, 7, 7)
    first[:] = 49 * (torch.arange(512) % 100)[:, None, None] + torch.arange(49).view(7, 7)
    first += torch.arange(4096)[:, None, None, None] * 8192
    state = {
        "classifier.0.weight": first.view(4096, -1),
        "classifier.0.bias": torch.arange(4096.0),
        "classifier.3.weight": torch.arange(4096.0)[:, None] * 4096 + torch.arange(4096.0),
        "classifier.3.bias": torch.arange(4096.0),
    }
    load_fc(fc, state)
    assert fc[0].weight[3, 7, 1, 2] == 12 * 8192 + 7 * 49 + 3 * 7 + 6
    assert fc[0].weight[1023, 511, 2, 0] == 4092 * 8192 + 11 * 49 + 6 * 7
    assert fc[2].weight[5, 9, 0, 0] == 20 * 4096 + 36
    assert fc[0].bias[2] == fc[2].bias[2] == 8


def test_a_detector_of_another_project_gives_a_pyramid_its_backbone(load):
    state = ssd_pytorch_state(21)
    model, told = load(state, replace(SSD_PYTORCH, pyramid=32), ["cat"])
    assert told == "ssd.pth (the backbone; all else is fresh, since model.pyramid differs)"
    assert torch.equal(model.backbone.extras[3][2].weight, state["extras.7.weight"])
    del state["extras.7.weight"]
    with pytest.raises(UserError, match=r"lacks extras\.7\.weight"):
        load(state, replace(SSD_PYTORCH, pyramid=32), ["cat"])
