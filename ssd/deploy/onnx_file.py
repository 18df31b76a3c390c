"""Writes a graph as an ONNX file, by PyTorch's exporter."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from ssd.common.errors import UserError
from ssd.common.sides import both
from ssd.deploy.facts import OUTPUTS, Facts
from ssd.deploy.graph import RawGraph

OPSET = 18  # the oldest that PyTorch's exporter writes without a conversion
WRITERS = ("onnx", "onnxscript")
PACKAGES = {".onnx": (*WRITERS, "onnxruntime"), ".xml": (*WRITERS, "openvino")}


def need_packages(suffix: str) -> None:
    """Raises a UserError if a package that writes or checks files of this kind is missing."""
    names = PACKAGES.get(suffix, ())
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise UserError(
            f"export to {suffix} needs {', '.join(missing)}: pip install {' '.join(names)}"
        )


def traced(graph: RawGraph) -> ExportedProgram:
    """The graph as a program of PyTorch's operators, for any batch and, of pixels, any size."""
    height, width = both(graph.preprocess.size)
    example = (
        torch.zeros(2, height - 1, width + 1, 3, dtype=torch.uint8)
        if graph.pixels
        else torch.zeros(2, 3, height, width)
    )
    free = {axis: Dim(name) for axis, name in free_axes(graph.pixels).items()}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(graph.eval(), (example,), dynamic_shapes=(free,))


def free_axes(pixels: bool) -> dict[int, str]:
    """The axes of the images that may have any length, with their names."""
    return {0: "batch", 1: "height", 2: "width"} if pixels else {0: "batch"}


def onnx_bytes(program: ExportedProgram, facts: Facts) -> bytes:
    """The content of an ONNX file for a traced graph, with the facts as its metadata."""
    from onnxscript import opset18 as op

    def suppress(boxes: Any, scores: Any, iou: float, least: float, most: int) -> Any:
        """`ssd::suppress`: a group is an image of one class to NonMaxSuppression."""
        chosen = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, op.Constant(value_ints=[1])),
            op.Constant(value_ints=[most]),
            op.Constant(value_floats=[iou]),
            op.Constant(value_floats=[least]),
        )  # rows of group, class, place
        where = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
        return op.ScatterND(op.Sub(scores, scores), where, op.GatherND(scores, where))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written: Any = torch.onnx.export(
            program,
            input_names=["images"],
            output_names=list(OUTPUTS[facts.form]),
            opset_version=OPSET,
            dynamic_shapes=(free_axes(facts.pixels),),
            dynamo=True,
            custom_translation_table={torch.ops.ssd.suppress.default: suppress},
            verbose=False,
        )
    written.model.metadata_props.update(facts.metadata())
    content: bytes = written.model_proto.SerializeToString()
    return content
