"""Checks an OpenVINO model (IR: an .xml file and a .bin file) from an untrusted source.

An IR holds no code, but its .xml can bring graphs within graphs, operators of extensions, and
weights beyond the end of the .bin file. A file of `ssd export` has none of these; all else is
refused before OpenVINO sees it. Both files are handed over as they were checked, in memory.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.parsers import expat

from ssd.common.errors import UserError
from ssd.common.untrusted import read_regular, short
from ssd.deploy.untrusted import LARGEST_FILE, MOST_NODES

LARGEST_XML = 1 << 26  # bytes; MobileNetV3 has a hundredth
DEEPEST = 8  # elements
METADATA = ["net", "rt_info", "framework"]  # where OpenVINO's converter puts that of the ONNX file
ELEMENTS = {"net", "layers", "layer", "data", "input", "output", "port", "dim", "edges", "edge"}
OPSET = re.compile(r"opset[1-9][0-9]?")
OPERATORS = {
    *("Abs", "Add", "AvgPool", "Broadcast", "Clamp", "Concat", "Const", "Convert", "Convolution"),
    *("Divide", "Equal", "Exp", "FakeQuantize", "FloorMod", "Gather", "GatherElements", "GatherND"),
    *("Greater", "GroupConvolution", "HSwish", "HardSigmoid", "Interpolate", "IsInf", "IsNaN"),
    *("Less", "LogicalAnd", "LogicalNot", "LogicalOr", "MatMul", "MaxPool", "Maximum", "Minimum"),
    *("Multiply", "NonMaxSuppression", "NonZero", "Pad", "Parameter", "Power", "Range", "ReLU"),
    *("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape", "Result"),
    *("ScatterElementsUpdate", "ScatterNDUpdate", "Select", "ShapeOf", "Slice", "SoftMax"),
    *("Split", "Sqrt", "Squeeze", "StridedSlice", "Subtract", "Tile", "TopK", "Transpose"),
    *("Unsqueeze", "VariadicSplit"),
}


def read_ir(path: Path) -> tuple[bytes, bytes, dict[str, str]]:
    """The content of an .xml file, of the .bin file beside it, and the metadata.

    Raises:
        UserError: they cannot be read, are damaged, or hold anything but operators and weights.
    """
    weights = path.with_suffix(".bin")
    contents = []
    for file, most in ((path, LARGEST_XML), (weights, LARGEST_FILE)):
        try:
            contents.append(read_regular(file, most))
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    xml, bin_ = contents
    scan = Scan(len(bin_))
    try:
        scan.parse(xml)
    except (ValueError, expat.ExpatError) as error:
        reason = str(error) if isinstance(error, ValueError) else f"it is no XML ({error})"
        raise UserError(f"{path} is no file that can be run: {reason}: export it anew") from error
    return xml, bin_, scan.metadata


class Scan:
    """One pass over the .xml file.

    Args:
        weights: bytes of the .bin file.

    Attributes:
        metadata: the texts that the export has put in.
    """

    def __init__(self, weights: int) -> None:
        self.metadata: dict[str, str] = {}
        self._weights = weights
        self._open: list[str] = []
        self._layers = 0

    def parse(self, xml: bytes) -> None:
        """Raises a ValueError, or expat's error, if the file is not one of `ssd export`."""
        xml.decode("utf-8")  # OpenVINO guesses other encodings, and might read another text
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda name: self._open.pop()
        parser.StartDoctypeDeclHandler = _refuse("a document type")
        parser.ProcessingInstructionHandler = _refuse("an instruction")
        parser.StartCdataSectionHandler = _refuse("a CDATA section")
        parser.CharacterDataHandler = self._text
        parser.XmlDeclHandler = _declaration
        parser.Parse(xml, True)
        if not self._layers:
            raise ValueError("it is no model of OpenVINO")

    def _start(self, name: str, values: dict[str, str]) -> None:
        self._open.append(name)
        if len(self._open) > DEEPEST:
            raise ValueError("its elements are nested too deeply")
        if self._open[:2] == METADATA[:2]:
            if self._open[:-1] == METADATA:
                self.metadata[name] = values.get("value", "")
            return
        if name not in ELEMENTS:
            raise ValueError(f"it holds {short(name)}, which no export does")
        if name == "layer":
            self._layer(values)
        if name == "data":
            self._data(values)

    def _text(self, text: str) -> None:
        if text.strip() and self._open[-1] != "dim":
            raise ValueError("it holds a text where none belongs")

    def _layer(self, values: dict[str, str]) -> None:
        operator, version = values.get("type", ""), values.get("version", "")
        if operator not in OPERATORS or not OPSET.fullmatch(version):
            name = f"{version}.{operator}"
            raise ValueError(f"it uses the operator {short(name)}, which no export does")
        self._layers += 1
        if self._layers > MOST_NODES:
            raise ValueError(f"it has more than {MOST_NODES} operators")

    def _data(self, values: dict[str, str]) -> None:
        if "offset" not in values and "size" not in values:
            return
        sizes = [values.get(name, "") for name in ("offset", "size")]
        if not all(size.isascii() and size.isdigit() and len(size) < 16 for size in sizes):
            raise ValueError(f"its weights are at {short(sizes)}")
        if sum(map(int, sizes)) > self._weights:
            raise ValueError("its .bin file is cut off, or of another model")


def _refuse(what: str) -> Any:
    def refuse(*_: object) -> None:
        raise ValueError(f"it holds {what}, which no export does")

    return refuse


def _declaration(version: str, encoding: str | None, standalone: int) -> None:
    if (encoding or "utf-8").lower() != "utf-8":
        raise ValueError(f"it is encoded as {short(encoding)}")
