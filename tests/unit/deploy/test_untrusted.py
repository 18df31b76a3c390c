"""Damaged, foreign and hostile ONNX files end in one line, and never reach the runtime."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ssd.common.errors import UserError
from ssd.deploy.evaluate import evaluate_exported
from ssd.deploy.runtime import ExportedDetector, ExportedFile
from ssd.deploy.untrusted import read_onnx
from tests.unit.deploy.nets import facts_of, photo, random_detector

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


OUTPUTS = {
    "boxes": np.zeros((1, 1, 4), np.float32),
    "scores": np.full((1, 1), 0.5, np.float32),
    "labels": np.ones((1, 1), np.int64),
    "counts": np.ones(1, np.int64),
}


def forged(path, metadata=None, nodes=(), constants=None, **outputs):
    """Writes a model with the metadata of an export, whose outputs are constants."""
    parts = {name: value for name, value in (OUTPUTS | outputs).items() if value is not None}
    tensors = [onnx.numpy_helper.from_array(value, f"{name}_") for name, value in parts.items()]
    tensors += [
        onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()
    ]
    same = [helper.make_node("Identity", [f"{name}_"], [name]) for name in parts]
    kinds = (FLOAT, FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.INT64)
    results = [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in zip(OUTPUTS, kinds, strict=True)
    ]
    images = helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, [1, "h", "w", 3])
    graph = helper.make_graph([*same, *nodes], "g", [images], results, tensors)
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, ir_version=10, opset_imports=opset)
    facts = facts_of(random_detector(), pixels=True).metadata() | (metadata or {})
    for name, value in facts.items():
        model.metadata_props.add(key=name, value=value)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counts", np.array([-1])),
        ("counts", np.array([1 << 60])),
        ("counts", np.array(1)),
        ("labels", np.array([[4]])),
        ("labels", np.array([[0]])),
        ("labels", np.array([[1 << 60]])),
        ("scores", np.array([[np.nan]], np.float32)),
        ("scores", np.array([[1e30]], np.float32)),
        ("scores", np.array(0.5, np.float32)),
        ("boxes", np.full((1, 1, 4), 3e38, np.float32)),
        ("boxes", np.zeros((1, 2, 4), np.float32)),
    ],
)
def test_impossible_detections_are_refused(tmp_path, name, value):
    pytest.importorskip("onnxruntime")
    assert len(ExportedDetector(forged(tmp_path / "good.onnx"))(photo(9, 9)).scores) == 1
    detector = ExportedDetector(forged(tmp_path / "bad.onnx", **{name: value}))
    with pytest.raises(UserError, match=r"bad\.onnx gives what no export gives"):
        detector(photo(9, 9))


def test_names_cannot_control_a_terminal(tmp_path):
    pytest.importorskip("onnxruntime")
    path = forged(tmp_path / "model.onnx", {"classes": '["\\u001b[31mcat", "b"]'})
    with pytest.raises(UserError, match=r"classes is '\\x1b\[31mcat', but has to be"):
        ExportedDetector(path)
    path = forged(tmp_path / "model.onnx", {"run": "a\n\x1b[2Jb\x9b" + "x" * 500})
    assert ExportedDetector(path).facts.run == "a [2Jb " + "x" * 193


def test_settings_in_a_file_run_nothing_and_name_no_other_file(tmp_path):
    pytest.importorskip("onnxruntime")
    ran = tmp_path / "ran"
    overrides = {"data": {"root": str(tmp_path), "format": "voc", "eval_split": "test"}}
    for config in (
        f"!!python/object/apply:os.system ['touch {ran}']",
        f"data: !!python/object/apply:os.system ['touch {ran}']",
        "a: &a [x, x]\nb: [*a, *a]",
        "[" * 100_000,
        "data: 5",
        "evaluation: {top_k: x}",
        "unknown: {a: 1}",
    ):
        path = forged(tmp_path / "model.onnx", {"config": config})
        with pytest.raises(UserError) as caught:
            evaluate_exported(path, overrides, tmp_path / "out")
        assert "\n" not in str(caught.value)
    elsewhere = "data: {images: /etc, annotations: /etc/passwd}"
    path = forged(tmp_path / "model.onnx", {"config": elsewhere})
    with pytest.raises(UserError) as caught:
        evaluate_exported(path, overrides, tmp_path / "out")
    assert "/etc" not in str(caught.value)
    assert not ran.exists()


def doubled(times):
    """Operators that double a tensor again and again."""
    names = ["seed", *(f"n{place}" for place in range(times)), "boxes"]
    return [
        helper.make_node("Concat", [one, one], [other], axis=0)
        for one, other in itertools.pairwise(names)
    ]


GREEDY = {
    "expand": ([helper.make_node("Expand", ["seed", "shape"], ["boxes"])], [1 << 40, 1, 4]),
    "tile": ([helper.make_node("Tile", ["seed", "shape"], ["boxes"])], [1 << 40, 1, 1]),
    "doubled": (doubled(40), []),
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which limits memory")
@pytest.mark.parametrize("kind", GREEDY)
def test_a_file_takes_no_more_memory_than_is_free(tmp_path, kind):
    pytest.importorskip("onnxruntime")
    nodes, shape = GREEDY[kind]
    constants = {"seed": np.zeros((1, 1, 4), np.float32), "shape": np.array(shape, np.int64)}
    path = forged(tmp_path / "model.onnx", nodes=nodes, constants=constants, boxes=None)
    script = f"""
import numpy as np
from ssd.deploy import guard
from ssd.deploy.runtime import ExportedDetector

guard.free_memory = lambda: 1 << 30
guard.guard()
ExportedDetector({str(path)!r})(np.zeros((9, 9, 3), np.uint8))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "run: it takes more memory than there is" in done.stderr.splitlines()[-1]


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux runs a file in a second process")
def test_a_file_that_ends_its_process_ends_the_command_in_one_line(tmp_path):
    """The smallest integer by -1 has no result, and the processor raises SIGFPE."""
    pytest.importorskip("onnxruntime")
    nodes = [
        helper.make_node("Div", ["least", "minus"], ["many"]),
        helper.make_node("Cast", ["many"], ["boxes"], to=FLOAT),
    ]
    constants = {"least": np.full((1, 1, 4), -(1 << 63)), "minus": np.full((1, 1, 4), -1)}
    path = forged(tmp_path / "model.onnx", nodes=nodes, constants=constants, boxes=None)
    Image.fromarray(photo(9, 9)).save(tmp_path / "photo.png")
    done = subprocess.run(
        [sys.executable, "-m", "ssd", "predict", "--out", "found", path, tmp_path / "photo.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{path} cannot be run: SIGFPE ended the process that ran it" in done.stderr
    assert len(done.stderr.splitlines()) == 1
