"""Makes an ONNX file smaller and faster by the numbers that its network computes with.

Only the layers of the network change. What precedes the first convolution and what follows the
predictors (softmax, decoding and suppression) stays in float32, as does VGG's L2 normalisation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from ssd.deploy.program import silent

Numbers = Literal["float32", "float16", "int8"]

# Layers between convolutions that compute with the same numbers as these.
HALF_LAYERS = {
    *("Add", "Clip", "HardSigmoid", "HardSwish", "MaxPool", "Mul", "ReduceMean", "Relu", "Resize"),
}
INT8_LAYERS = {"Add", "Clip", "MaxPool", "Relu", "Resize"}


def halved(content: bytes) -> bytes:
    """The ONNX file with float16 in its network; images and results remain float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load_from_string(content)
    layers, _ = network(model.graph, HALF_LAYERS)
    others = [node.name for node in model.graph.node if node.name not in layers]
    with silent():
        converted = convert_float_to_float16(model, keep_io_types=True, node_block_list=others)
    half: bytes = converted.SerializeToString()
    return half


def quantised(content: bytes, inputs: Iterable[npt.NDArray[Any]]) -> bytes:
    """The ONNX file with 8-bit integers in its network, by onnxruntime's static quantisation.

    Weights have a scale for each channel, and activations one for each tensor, of the mean range
    that it has in the single `inputs`. (By the widest range, which a few values decide, ResNet-50
    lost 1.4 points of mAP.) The predictors stay in float32: their outputs need more than 8 bits.

    Args:
        content: a file of `onnx_bytes`.
        inputs: images in the form that the file takes.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the inputs one after another, and then None."""

        def __init__(self) -> None:
            self._rest = iter(inputs)

        def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
            images = next(self._rest, None)
            return None if images is None else {"images": images}

    model = onnx.load_from_string(content)
    layers, predictors = network(model.graph, INT8_LAYERS)
    with tempfile.TemporaryDirectory() as folder, silent():
        file = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            file,
            Reader(),
            nodes_to_quantize=sorted(layers - predictors),
            op_types_to_quantize=["Conv", *sorted(INT8_LAYERS)],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"CalibMovingAverage": True},
        )
        return file.read_bytes()


def network(graph: Any, layers: set[str]) -> tuple[set[str], set[str]]:
    """The names of a graph's convolutions and of the nodes of the given types that follow them.

    A node follows if all that it is computed from are such nodes. The second set has the
    convolutions whose results reach no other: the predictors.
    """
    computed = {name for node in graph.node if node.op_type != "Constant" for name in node.output}
    results, names = set[str](), set[str]()
    for node in graph.node:
        sources = {name for name in node.input if name in computed}
        if node.op_type == "Conv" or (node.op_type in layers and sources and sources <= results):
            names.add(node.name)
            results.update(node.output)
    needed, predictors = set[str](), set[str]()  # needed by a convolution
    for node in reversed(graph.node):
        reaches = not needed.isdisjoint(node.output)
        if node.op_type == "Conv" and not reaches:
            predictors.add(node.name)
        if node.op_type == "Conv" or reaches:
            needed.update(node.input)
    return names, predictors
