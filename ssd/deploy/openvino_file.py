"""Writes a graph as an OpenVINO model (IR), by OpenVINO's converter, and opens such a file.

Neither needs PyTorch.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.common.machine import usable_cores
from ssd.deploy.session import Session
from ssd.deploy.untrusted_ir import read_ir

INSTALL = "pip install openvino"


def ir_content(onnx: bytes) -> dict[str, bytes]:
    """The contents of the .xml and the .bin file of the model in an ONNX file, in float32."""
    import openvino

    model = openvino.Core().read_model(onnx)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        # ONNX says that of equal scores the first counts, which the converter does not pass on.
        xml = re.sub(rb'(<data [^>]* )stable="false"', rb'\1stable="true"', path.read_bytes())
        return {".xml": xml, ".bin": path.with_suffix(".bin").read_bytes()}


def open_ir(path: Path) -> Session:
    """An .xml file with the .bin file beside it, in OpenVINO on the CPU.

    Arithmetic is float32: by itself, OpenVINO computes in bfloat16 on CPUs that have it.

    Raises:
        UserError: OpenVINO is missing, or the files hold what no export holds.
        Exception: whatever OpenVINO raises of a damaged file.
    """
    try:
        import openvino
    except ImportError as error:
        raise UserError(f"{path} needs openvino, which is not there: {INSTALL}") from error
    xml, weights, metadata = read_ir(path)
    core = openvino.Core()
    model = core.read_model(xml, openvino.Tensor(np.frombuffer(weights, np.uint8)))
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": usable_cores()}
    compiled = core.compile_model(model, "CPU", hints)

    def run(images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        found = compiled([images])
        return [found[place] for place in range(len(model.outputs))]

    return Session(
        run,
        metadata,
        [(port.any_name, port.element_type.to_dtype().name) for port in model.inputs],
        [port.any_name for port in model.outputs],
    )
