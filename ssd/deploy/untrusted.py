"""Checks an ONNX file from an untrusted source before a runtime sees it.

An ONNX file holds no code, but it can name other files for its weights, operators that a library
would have to bring, and loops. A file of `ssd export` has none of these; all else is refused. The
file is read by the rules of protobuf's wire format, since the runtime needs no package that does.

Source: `onnx.proto3`, whose numbers of fields are those below.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.untrusted import read_regular, short

LARGEST_FILE = 1 << 30  # bytes; VGG16 at 512 pixels has a tenth
MOST_NODES = 20_000

GRAPH, TRAINING, FUNCTIONS = 7, 20, 25  # fields of a model
NODE, INITIALIZER, SPARSE_INITIALIZER = 1, 5, 15  # of a graph
OPERATOR, ATTRIBUTE, DOMAIN = 4, 5, 7  # of a node
TENSOR, SUBGRAPH, TENSORS, SUBGRAPHS, SPARSE, SPARSES = 5, 6, 10, 11, 22, 23  # of an attribute
EXTERNAL, LOCATION = 13, 14  # of a tensor

OPERATORS = {
    *("Abs", "Add", "And", "AveragePool", "Cast", "Clip", "Concat", "Constant", "Conv"),
    *("DequantizeLinear", "Div", "Equal", "Erf", "Exp", "Expand", "Flatten", "Gather"),
    *("GatherElements", "GatherND", "GlobalAveragePool", "Greater", "HardSigmoid", "HardSwish"),
    *("Identity", "IsInf", "IsNaN", "LayerNormalization", "Less", "MatMul", "Max", "MaxPool"),
    *("Min", "Mod", "Mul", "NonMaxSuppression", "Not", "Or", "Pow", "QuantizeLinear", "Range"),
    *("NonZero", "Pad", "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceSum", "Relu", "Reshape", "Resize", "ScatterElements", "ScatterND", "Shape"),
    *("Sigmoid", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Tile", "TopK"),
    *("Transpose", "Unsqueeze", "Where"),
}


def read_onnx(path: Path) -> bytes:
    """The content of an ONNX file that holds nothing but operators and weights.

    Raises:
        UserError: it cannot be read, is damaged, or holds anything else.
    """
    try:
        content = read_regular(path, LARGEST_FILE)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        _check_model(memoryview(content))
    except (ValueError, IndexError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is cut off"
        raise UserError(f"{path} is no file that can be run: {reason}: export it anew") from error
    return content


def _check_model(model: memoryview) -> None:
    graphs = 0
    for field, value in _fields(model):
        if field in (TRAINING, FUNCTIONS):
            raise ValueError("it holds functions or a training")
        if field == GRAPH:
            graphs += 1
            _check_graph(_message(value))
    if graphs != 1:
        raise ValueError("it is not ONNX")


def _check_graph(graph: memoryview) -> None:
    nodes = 0
    for field, value in _fields(graph):
        if field == NODE:
            nodes += 1
            _check_node(_message(value))
        elif field == INITIALIZER:
            _check_tensor(_message(value))
        elif field == SPARSE_INITIALIZER:
            raise ValueError("it holds sparse weights")
    if nodes > MOST_NODES:
        raise ValueError(f"it has {nodes} operators, but at most {MOST_NODES} are allowed")


def _check_node(node: memoryview) -> None:
    operator, domain = "", ""
    for field, value in _fields(node):
        if field == OPERATOR:
            operator = _text(value)
        elif field == DOMAIN:
            domain = _text(value)
        elif field == ATTRIBUTE:
            _check_attribute(_message(value))
    if domain not in ("", "ai.onnx") or operator not in OPERATORS:
        name = f"{domain}.{operator}" if domain else operator
        raise ValueError(f"it uses the operator {short(name)}, which no export does")


def _check_attribute(attribute: memoryview) -> None:
    for field, value in _fields(attribute):
        if field in (TENSOR, TENSORS):
            _check_tensor(_message(value))
        elif field in (SUBGRAPH, SUBGRAPHS, SPARSE, SPARSES):
            raise ValueError("it holds a graph within the graph, or sparse weights")


def _check_tensor(tensor: memoryview) -> None:
    for field, value in _fields(tensor):
        if field == EXTERNAL or (field == LOCATION and value != 0):
            raise ValueError("its weights are in another file")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The number and the value of each field; raises an IndexError where the message is cut off."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield field, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError("it is not ONNX")
        length, at = _varint(message, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        if at + length > len(message):
            raise IndexError
        yield field, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of 1 to 10 bytes, seven bits each, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it is not ONNX")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is not ONNX")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8", errors="replace")
