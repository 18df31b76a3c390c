"""Networks in float16 and int8: which layers change, to which numbers, and what they then give."""

import numpy as np
import pytest

from ssd.deploy.runtime import ExportedFile
from ssd.deploy.smaller import HALF_LAYERS, INT8_LAYERS, halved, network, quantised

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install '.[export]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install '.[export]'")

BACKBONES = ["ssd7", "mobilenet_v3_large", "ssd7+pyramid"]


def images(count, size=96):
    generator = np.random.default_rng(0)
    return [
        generator.normal(0, 1 + index, (1, 3, size, size)).astype(np.float32)
        for index in range(count)
    ]


def convolutions(model):
    return [node for node in model.graph.node if node.op_type == "Conv"]


def constants(model):
    return {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}


def converted(exported, tmp_path, backbone, convert):
    """The float32 file, the other one, and their outputs for an image."""
    path, detector = exported(backbone, "raw")
    content = convert(path.read_bytes())
    other = tmp_path / "other.onnx"
    other.write_bytes(content)
    outputs = [ExportedFile(each).run(images(1)[0]) for each in (path, other)]
    return onnx.load(path), onnx.load(other), outputs, detector


def test_the_network_ends_where_other_operators_begin():
    made = onnx.helper.make_node
    nodes = [
        made("Mul", ["images", "scale"], ["scaled"], "before"),
        made("Conv", ["scaled", "w1"], ["one"], "first"),
        made("Relu", ["one"], ["two"], "relu"),
        made("Pow", ["two", "exponent"], ["squares"], "norm"),
        made("Mul", ["two", "squares"], ["normed"], "normed"),
        made("Conv", ["normed", "w2"], ["logits"], "predictor"),
        made("MaxPool", ["two"], ["pooled"], "pool"),
        made("Conv", ["pooled", "w3"], ["three"], "second"),
        made("Conv", ["three", "w4"], ["four"], "last"),
        made("Add", ["three", "four"], ["sum"], "residual"),
        made("Transpose", ["sum"], ["turned"], "turned"),
        made("Add", ["turned", "w5"], ["out"], "after"),
    ]
    graph = onnx.helper.make_graph(nodes, "graph", [], [])
    names, predictors = network(graph, {"Relu", "MaxPool", "Mul", "Add"})
    assert names == {"first", "relu", "predictor", "pool", "second", "last", "residual"}
    assert predictors == {"predictor", "last"}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_predictors_are_those_of_the_head(exported, backbone):
    path, detector = exported(backbone, "raw")
    head = detector.model.head
    graph = onnx.load(path).graph
    for layers in (HALF_LAYERS, INT8_LAYERS):
        names, predictors = network(graph, layers)
        assert len(predictors) == len(head.logits) + len(head.locations)
        assert {node.name for node in graph.node if node.op_type == "Conv"} <= names


@pytest.mark.parametrize("backbone", BACKBONES)
def test_float16_weights_are_the_rounded_ones(exported, tmp_path, backbone):
    float32, float16, outputs, _ = converted(exported, tmp_path, backbone, halved)
    before, after = constants(float32), constants(float16)
    for one, other in zip(convolutions(float32), convolutions(float16), strict=True):
        assert after[other.input[1]].dtype == np.float16
        rounded = before[one.input[1]].astype(np.float16).astype(np.float32)
        # The tool keeps what is almost 0 from becoming 0.
        np.testing.assert_allclose(after[other.input[1]], rounded, rtol=0, atol=6e-8)
    for wanted, found, most in zip(*outputs, (0.5, 0.02), strict=True):
        assert found.dtype == np.float32
        assert 0 < np.abs(wanted - found).max() < most


@pytest.mark.parametrize("backbone", BACKBONES)
def test_int8_weights_and_ranges(exported, tmp_path, backbone):
    inputs = images(3)
    float32, int8, outputs, _ = converted(
        exported, tmp_path, backbone, lambda content: quantised(content, iter(inputs))
    )
    before, after = constants(float32), constants(int8)
    made_by = {node.output[0]: node for node in int8.graph.node}
    _, predictors = network(float32.graph, INT8_LAYERS)
    others = {node.name: node for node in convolutions(int8)}
    for one in convolutions(float32):
        other = others.pop(one.name)
        weight = before[one.input[1]]
        if one.name in predictors:
            assert (after[other.input[1]] == weight).all()
            continue
        name, scale, _ = made_by[other.input[1]].input
        assert after[name].dtype == np.int8
        largest = np.abs(weight).reshape(len(weight), -1).max(1)
        assert (after[scale] >= largest / 127 * 0.999).all()
        error = np.abs(after[name] * after[scale].reshape(-1, 1, 1, 1) - weight)
        assert (error.reshape(len(weight), -1).max(1) <= after[scale] * 0.501).all()
    assert not others
    first = next(node for node in int8.graph.node if node.input[0] == "images")
    low, high = (np.mean([side(each) for each in inputs]) for side in (np.min, np.max))
    assert first.op_type == "QuantizeLinear"
    assert after[first.input[1]] == pytest.approx((high - low) / 255, rel=1e-5)
    assert after[first.input[2]].dtype == np.uint8
    (_, wanted), (_, found) = outputs
    assert 0 < np.abs(wanted - found).mean() < 0.02


def test_images_in_pixels_stay_as_they_are(exported, tmp_path):
    path, _ = exported("ssd7", "detections", True)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (1, 40, 50, 3), np.uint8)
    wanted = ExportedFile(path).run(pixels)
    for content in (halved(path.read_bytes()), quantised(path.read_bytes(), iter([pixels]))):
        other = tmp_path / "other.onnx"
        other.write_bytes(content)
        file = ExportedFile(other)
        assert file.facts == ExportedFile(path).facts
        found = file.run(pixels.repeat(2, 0))
        assert [each.shape[1:] for each in found] == [each.shape[1:] for each in wanted]
        assert np.abs(found[1][0] - wanted[1][0]).max() < 0.05
