import sys
from dataclasses import replace

import pytest
import torch

from ssd.common.errors import UserError
from ssd.common.sides import both
from ssd.config import ModelConfig
from ssd.model.head import channels_to_boxes
from ssd.model.layers import BatchNorm, HalvingConv
from ssd.model.ssd import build_model, is_pretrained
from ssd.model.vgg import L2Norm

SMALL = ["ssd7", "mobilenet_v3_large", "ssdlite"]


OBLONG = [[96, 160], [200, 333], [512, 128]]


def build_without_memory(backbone, size):
    """A model of shapes only: nothing is computed, so VGG costs nothing."""
    with torch.device("meta"):
        return build_model(ModelConfig(backbone, size), num_classes=4)


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        *[(backbone, size) for backbone in SMALL for size in (96, 300, 320, 333, 512, *OBLONG)],
        *[(backbone, size) for backbone in ("vgg16", "vgg16_bn") for size in (300, 512)],
        ("resnet50", 300),
    ],
)
def test_maps_and_predictions_have_the_promised_shapes(backbone, size):
    model = build_without_memory(backbone, size)
    images = torch.empty(2, 3, *both(size), device="meta")
    promised = zip(model.backbone.channels, model.backbone.map_sizes, strict=True)
    maps = [tuple(features.shape) for features in model.backbone(images)]
    assert maps == [(2, channels, *both(sides)) for channels, sides in promised]
    predictions = model(images)
    assert predictions.logits.shape == (2, len(model.default_boxes), 4)
    assert predictions.locations.shape == (2, len(model.default_boxes), 4)


@pytest.mark.parametrize(
    ("backbone", "size", "count"),
    [("vgg16", 300, 8732), ("vgg16", 512, 24564), ("resnet50", 300, 8732), ("ssdlite", 320, 3234)],
)
def test_models_have_as_many_boxes_as_published(backbone, size, count):
    assert len(build_without_memory(backbone, size).default_boxes) == count


def test_resnet_takes_a_real_image_and_learns_in_every_layer():
    """The last map is 1×1, so that one image gives it one value per channel."""
    model = build_model(ModelConfig("resnet50", 300), num_classes=3)
    predictions = model(torch.randn(1, 3, 300, 300))
    assert predictions.logits.shape == (1, len(model.default_boxes), 3)
    (predictions.logits.square().sum() + predictions.locations.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_positions_follow_the_stride_and_coarse_maps_spread_evenly():
    boxes = build_model(ModelConfig("mobilenet_v3_large", 320), 3).default_boxes
    assert boxes[4, 0] - boxes[0, 0] == pytest.approx(8 / 320)
    coarse = boxes[-(9 * 6 + 4 * 4 + 4) :, 0]
    assert coarse[: 3 * 6 : 6].tolist() == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert coarse[9 * 6 : 9 * 6 + 8 : 4].tolist() == pytest.approx([0.25, 0.75])
    assert coarse[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("backbone", SMALL)
def test_gradient_reaches_every_parameter_from_a_single_image(backbone):
    """A short last batch may hold one image, whose 1×1 map has one value per channel."""
    model = build_model(ModelConfig(backbone, 128), num_classes=3)
    predictions = model(torch.randn(1, 3, 128, 128))
    (predictions.logits.square().sum() + predictions.locations.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0 or "bias" in name, name


@pytest.mark.parametrize("backbone", SMALL)
def test_channels_last_equals_contiguous(backbone):
    model = build_model(ModelConfig(backbone, 128), num_classes=3).eval()
    images = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        expected = model(images)
        model.to(memory_format=torch.channels_last)
        found = model(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.locations, expected.locations, atol=1e-4, rtol=1e-4)


def test_bf16_autocast_is_close_to_fp32():
    model = build_model(ModelConfig("ssd7"), num_classes=3).eval()
    model.to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 300, 300).to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = model(images).logits
        with torch.autocast("cpu", torch.bfloat16):
            found = model(images).logits
    assert found.dtype == torch.bfloat16
    # 8 bits of mantissa over a dozen layers.
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_ssd7_head_sees_what_its_docstring_says():
    """The pixels that the gradient of one position in the middle of each map reaches."""
    model = build_model(ModelConfig("ssd7", 704), num_classes=3).eval()
    images = torch.randn(1, 3, 704, 704, requires_grad=True)
    seen = []
    for features, predict in zip(model.backbone(images), model.head.locations, strict=True):
        middle = features.shape[-1] // 2
        output = predict(features)[0, :, middle, middle].sum()
        (gradient,) = torch.autograd.grad(output, images, retain_graph=True)
        rows = gradient.abs().sum((0, 1, 3)).nonzero()
        seen.append(int(rows.max() - rows.min()) + 1)
    assert seen == [63, 127, 255, 511]


def test_state_dict_leaves_out_the_default_boxes_and_loads_without_fetching():
    config = ModelConfig("ssd7", weights="imagenet")
    one, other = build_model(config, 3), build_model(config, 3)
    assert not torch.equal(one.backbone.stem[0].weight, other.backbone.stem[0].weight)
    assert "default_boxes" not in one.state_dict()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.backbone.stem[0].weight, other.backbone.stem[0].weight)


def test_seed_decides_the_initial_weights():
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build_model(ModelConfig("ssd7"), 3).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig("vgg16", 320), "320, but VGG takes 300 or 512"),
        (ModelConfig("resnet50", 512), "512, but resnet50 takes 300"),
        (ModelConfig("ssd7", 95), "95, but ssd7 needs 96 or more"),
        (ModelConfig("ssd7", [200, 95]), "200x95, but ssd7 needs 96 or more"),
        (ModelConfig("vgg16", [300, 512]), "300x512, but VGG takes 300 or 512; other sizes"),
        (ModelConfig("resnet50", [300, 512]), "300x512, but resnet50 takes 300; other sizes"),
        (ModelConfig("ssd7", 300, box_sizes=[10, 20]), "has 2 numbers, but ssd7 .* needs 5"),
    ],
)
def test_impossible_models_are_refused(config, message):
    with pytest.raises(UserError, match=message) as caught:
        build_model(config, 3)
    assert "\n" not in str(caught.value)


def test_box_sizes_override_those_of_the_backbone():
    model = build_model(ModelConfig("ssd7", 200, box_sizes=[20, 40, 80, 120, 180]), 3)
    assert model.default_boxes[0, 2:].tolist() == pytest.approx([0.1, 0.1])


def test_the_boxes_of_a_backbone_grow_with_the_shorter_side():
    wide, high = (build_model(ModelConfig("ssd7", size), 3) for size in ([96, 160], [160, 96]))
    square = build_model(ModelConfig("ssd7", 96), 3)
    assert wide.backbone.box_sizes == high.backbone.box_sizes == square.backbone.box_sizes
    shapes = [
        (model.default_boxes[:, 2:] * torch.tensor(sides)).unique(dim=0)
        for model, sides in ((wide, (160, 96)), (high, (96, 160)), (square, (96, 96)))
    ]
    for each in shapes[:2]:
        torch.testing.assert_close(each, shapes[2], atol=1e-4, rtol=1e-5)


def test_boxes_are_clamped_only_where_asked_for():
    config = ModelConfig("ssd7", 96, box_sizes=[20, 40, 80, 90, 200])
    free = build_model(config, 3).default_boxes
    clamped = build_model(replace(config, clamp_boxes=True), 3).default_boxes
    assert free[:, 2:].max() > 1
    assert torch.equal(clamped[:, :2], free[:, :2])
    assert torch.equal(clamped[:, 2:], free[:, 2:].clamp(max=1))


def test_channels_to_boxes_goes_row_column_box():
    output = torch.arange(2 * 6 * 3 * 4.0).view(2, 6, 3, 4)
    boxes = channels_to_boxes(output, values=2)
    assert boxes.shape == (2, 36, 2)
    for row in range(3):
        for column in range(4):
            for box in range(3):
                expected = output[:, 2 * box : 2 * box + 2, row, column]
                assert torch.equal(boxes[:, (row * 4 + column) * 3 + box], expected)
    channels_last = output.to(memory_format=torch.channels_last)
    assert channels_to_boxes(channels_last, 2).data_ptr() == channels_last.data_ptr()


def test_l2_norm_scales_every_position_to_20_in_fp32():
    norm = L2Norm(8)
    features = torch.randn(2, 8, 3, 3) * 1e4
    expected = torch.nn.functional.normalize(features, dim=1) * 20
    torch.testing.assert_close(norm(features), expected)
    half = norm(features.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, atol=0.2, rtol=0.01)
    silent = torch.zeros(1, 8, 1, 1, requires_grad=True)
    norm(silent).sum().backward()
    assert silent.grad.isfinite().all()


def test_batch_norm_uses_running_statistics_for_a_single_value():
    norm = BatchNorm(3).train()
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    single = torch.tensor([4.0, 2.0, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(
        norm(single).flatten(), torch.tensor([1.0, 0, -1]), atol=1e-5, rtol=0
    )
    assert norm.running_mean.tolist() == [2, 2, 2]
    pair = torch.cat([single, single + 2])
    plain = torch.nn.BatchNorm2d(3).train()
    torch.testing.assert_close(norm(pair), plain(pair))


def test_a_network_of_timm_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match="needs the package timm: pip install timm"):
        build_model(ModelConfig(backbone="timm:resnet18"), 3)


def test_a_backbone_with_a_typo():
    with pytest.raises(UserError, match="model.backbone is vgg61, but has to be one of vgg16"):
        ModelConfig(backbone="vgg61")


def test_a_frozen_backbone_keeps_weights_and_statistics():
    model = build_model(ModelConfig("mobilenet_v3_large", 96, freeze="backbone"), 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    for _ in range(2):
        model.eval()
        model.train()
        predictions = model(torch.randn(2, 3, 96, 96))
        (predictions.logits.sum() + predictions.locations.square().sum()).backward()
        optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    frozen = {name for name in before if name.startswith("backbone.features.")}
    assert frozen
    assert not changed & frozen
    statistics = {name for name in before if name.endswith("num_batches_tracked")}
    assert statistics - frozen <= changed


def test_what_a_classifier_may_lack_is_not_frozen():
    """Random layers would stay random."""
    names = dict(build_without_memory("vgg16", 300).named_parameters())
    frozen = {name for name in names if is_pretrained(name)}
    assert frozen == {name for name in names if name.startswith("backbone.features.")}


@pytest.mark.parametrize("groups", [1, 16])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (5, 1), (5, 2)])
def test_a_map_of_one_column_is_halved_as_any_other(size, groups):
    """The gradient too, in bfloat16: there, PyTorch's own is wrong on some CPUs."""
    ours = HalvingConv(16, 16, 3, stride=2, padding=1, groups=groups, bias=False)
    theirs = torch.nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=groups, bias=False)
    theirs.load_state_dict(ours.state_dict())
    for seed in range(4):  # it shows in most of them
        images = torch.randn(4, 16, *size, generator=torch.Generator().manual_seed(seed))
        images = images.contiguous(memory_format=torch.channels_last)
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected)
        with torch.autocast("cpu", torch.bfloat16):
            found = ours(images)
        towards = torch.randn(expected.shape, generator=torch.Generator().manual_seed(seed))
        (wanted,) = torch.autograd.grad(expected, theirs.weight, towards)
        (gradient,) = torch.autograd.grad(found, ours.weight, towards.to(found.dtype))
        torch.testing.assert_close(
            gradient, wanted, rtol=0.05, atol=0.05 * float(wanted.abs().max())
        )
