"""Writes and runs PyTorch's own files, .pt2: a program of torch.export, or its compiled package.

Reading one can run code in it, and a compiled package is code. So both have to be of one's own.

Letters: `B` images, `P` default boxes, `C` classes with the background, `D` detections of an image,
`N` pairs of a default box and a class.
"""

from __future__ import annotations

import io
import logging
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.nn.utils.rnn import pad_sequence

from ssd.common.errors import UserError
from ssd.config import EvaluationConfig
from ssd.deploy.facts import OUTPUTS, Facts, read_facts
from ssd.deploy.session import Run, Session
from ssd.detect.postprocess import chosen

NO_COMPILER = (
    "--compile needs a C++ compiler, such as g++, that works here: install one, or leave it out"
)
COMPILED = "/data/aotinductor/"  # the folder of compiled models within the archive


def program_bytes(program: ExportedProgram, facts: Facts) -> bytes:
    """The content of a .pt2 file that holds the program."""
    buffer = io.BytesIO()
    with silent():
        torch.export.save(program, buffer, extra_files=facts.metadata())
    return buffer.getvalue()


def compiled_bytes(program: ExportedProgram, facts: Facts) -> bytes:
    """The content of a .pt2 file that holds machine code for this kind of CPU, by AOTInductor.

    Raises:
        UserError: there is no C++ compiler that works.
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.exc import CppCompileError

    with TemporaryDirectory() as folder, silent():
        path = Path(folder) / "model.pt2"
        settings = {"aot_inductor.metadata": facts.metadata()}
        try:
            aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
        except CppCompileError as error:
            raise UserError(NO_COMPILER) from error
        return path.read_bytes()


def need_compiler() -> None:
    """Raises a UserError if there is no C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise UserError(NO_COMPILER) from error


def open_program(path: Path) -> Session:
    """A .pt2 file of one's own, in PyTorch on the CPU.

    Raises:
        Exception: whatever PyTorch raises of a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        is_compiled = any(COMPILED in name for name in archive.namelist())
    metadata = dict.fromkeys((field.name for field in fields(Facts)), "") | {"format": ""}
    module: Any
    with silent():
        if is_compiled:
            from torch._inductor import aoti_load_package

            module = aoti_load_package(str(path))
            metadata = module.get_metadata()
        else:
            module = torch.export.load(path, extra_files=metadata).module()
    facts = read_facts(metadata)

    @torch.no_grad()
    def run(images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        return [output.numpy() for output in module(torch.from_numpy(images))]

    kind = "uint8" if facts.pixels else "float32"
    return Session(run, metadata, [("images", kind)], list(OUTPUTS["raw"]))


def with_suppression(run: Run, facts: Facts) -> Run:
    """Runs a program and suppresses overlapping boxes: gives what DetectionGraph gives."""
    config = EvaluationConfig(
        score_threshold=facts.score_threshold,
        nms_iou=facts.nms_iou,
        top_k=facts.top_k,
        max_detections=facts.max_detections,
    )

    def complete(images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        boxes_BP4, scores_BPC = map(torch.from_numpy, run(images))
        height, width = images.shape[1:3] if facts.pixels else images.shape[2:]
        sides_4 = torch.tensor([width, height, width, height])
        relative_BP4 = boxes_BP4 / sides_4

        def boxes_of(box_BN: Tensor) -> tuple[Tensor, Tensor]:
            boxes_BN4 = relative_BP4.gather(1, box_BN[..., None].expand(-1, -1, 4))
            return boxes_BN4, boxes_BN4.isfinite().all(-1)

        found = chosen(scores_BPC, boxes_of, config)
        counts = [len(each.scores) for each in found]
        parts = [each for one in found for each in (one.boxes * sides_4, one.scores, one.labels)]
        boxes, scores, labels = (
            pad_sequence(parts[place::3], batch_first=True).numpy() for place in range(3)
        )
        return [boxes, scores, labels, np.array(counts, np.int64)]

    return complete


@contextmanager
def silent() -> Iterator[None]:
    """Hides PyTorch's warnings, which are about its own code."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
