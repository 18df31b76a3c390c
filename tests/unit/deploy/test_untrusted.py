"""Damaged, foreign and hostile ONNX files end in one line, and never reach the runtime."""

import os

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.deploy.runtime import ExportedDetector, ExportedFile
from ssd.deploy.untrusted import read_onnx
from tests.unit.deploy.nets import photo

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install '.[export]'")
helper = onnx.helper
FLOAT = onnx.TensorProto.FLOAT


def model_of(nodes, initializers=(), **more):
    value = helper.make_tensor_value_info("x", FLOAT, [1])
    result = helper.make_tensor_value_info("y", FLOAT, [1])
    graph = helper.make_graph(nodes, "g", [value], [result], list(initializers))
    return helper.make_model(graph, ir_version=10, **more)


def relu(**more):
    return helper.make_node("Relu", ["x"], ["y"], **more)


def weights(name="w"):
    return helper.make_tensor(name, FLOAT, [2], [1.0, 2.0])


def elsewhere():
    tensor = weights()
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def inner():
    return helper.make_graph(
        [relu()], "inner", [], [helper.make_tensor_value_info("y", FLOAT, [1])]
    )


HOSTILE = {
    "its weights are in another file": model_of([relu()], [elsewhere()]),
    "weights are in another": model_of(
        [helper.make_node("Constant", [], ["y"], value=elsewhere())]
    ),
    r"the operator 'my\.domain\.Relu'": model_of([relu(domain="my.domain")]),
    r"the operator 'com\.microsoft\.EPContext'": model_of(
        [helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")]
    ),
    "the operator 'Loop'": model_of([helper.make_node("Loop", ["x"], ["y"])]),
    "a graph within the graph": model_of(
        [helper.make_node("Relu", ["x"], ["y"], then_branch=inner())]
    ),
    "functions or a training": model_of(
        [relu()],
        functions=[
            helper.make_function("f", "F", ["x"], ["y"], [relu()], [helper.make_opsetid("", 18)])
        ],
    ),
}


@pytest.mark.parametrize("message", HOSTILE)
def test_what_no_export_holds_is_refused(tmp_path, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(HOSTILE[message].SerializeToString())
    with pytest.raises(UserError, match=rf"model\.onnx is no file that can be run: .*{message}"):
        read_onnx(path)


def test_sparse_weights_are_refused(tmp_path):
    model = model_of([relu()])
    model.graph.sparse_initializer.add().values.CopyFrom(weights())
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="sparse weights"):
        read_onnx(path)


def test_another_projects_model_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of([relu()]).SerializeToString())
    read_onnx(path)
    with pytest.raises(UserError, match="not written by `ssd export`"):
        ExportedFile(path)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_onnx(tmp_path / "none.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(UserError, match="it is not a regular file"):
        read_onnx(tmp_path / "pipe.onnx")
    for content in (b"", b"\x80", b"\xff" * 30, b"\x3a\xff\xff\xff\xff\x0f", b"hello", b"\x38\x01"):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.onnx is no file that can be run"):
            read_onnx(tmp_path / "bad.onnx")


def test_a_damaged_export_ends_in_one_line_or_detects(exported, tmp_path):
    """Each copy of the file is cut off, or has some bytes changed, mostly of its structure."""
    source, _ = exported("ssd7", "detections", pixels=True)
    content = source.read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    names = [place for place in range(len(content)) if content[place : place + 6] == b"images"]
    refused = []
    for number in range(24):
        damaged = bytearray(content)
        if number % 3 == 0:
            damaged = damaged[: int(generator.integers(len(content)))]
        else:
            around = names[number % len(names)] if number % 3 == 1 else len(content) - 4000
            for place in around + generator.integers(0, 3000, 4):
                damaged[min(place, len(content) - 1)] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            detector = ExportedDetector(path)
            assert len(detector(photo(40, 60)).scores) <= detector.facts.max_detections
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert "\n" not in "".join(refused)
