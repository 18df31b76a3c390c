"""Opens an exported ONNX file, in onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.common.machine import usable_cores
from ssd.deploy.session import Session
from ssd.deploy.untrusted import read_onnx

SILENT = 4  # onnxruntime's level of fatal errors: it raises all others
INSTALL = "pip install onnxruntime"
TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def open_onnx(path: Path) -> Session:
    """An ONNX file in onnxruntime.

    Raises:
        UserError: onnxruntime is missing, or the file holds what no export holds.
        Exception: whatever onnxruntime raises of a damaged file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{path} needs onnxruntime, which is not there: {INSTALL}") from error
    content = read_onnx(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        outputs: list[npt.NDArray[Any]] = session.run(None, {"images": images})
        return outputs

    return Session(
        run,
        session.get_modelmeta().custom_metadata_map,
        [(each.name, TYPES.get(each.type, each.type)) for each in session.get_inputs()],
        [each.name for each in session.get_outputs()],
    )
