"""Runs an exported file: its runtime, NumPy and OpenCV are all that it needs.

Letters: `H`, `W` pixels of an image, `D` its detections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError, one_line
from ssd.common.sides import both
from ssd.common.untrusted import CONTROL, LARGEST_COORDINATE
from ssd.deploy.facts import OUTPUTS, Facts, read_facts
from ssd.deploy.onnx_session import open_onnx
from ssd.deploy.openvino_file import open_ir
from ssd.deploy.resize import Floats, network_input
from ssd.deploy.session import Session
from ssd.detect.few_packages import Pixels, read_picture
from ssd.detect.result import Result
from ssd.report.pictures import SHOWN_SCORE

LONGEST_REASON = 200
NO_MEMORY = re.compile("failed to allocate|bad.alloc|not enough memory|require more than", re.I)


class Objects(NamedTuple):
    """The objects of an image, best first.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | boxes | [D, 4] | float32 | xyxy, pixels of the image |
    | scores | [D] | float32 | softmax probability |
    | labels | [D] | int64 | from 1 on |
    """

    boxes: Floats
    scores: Floats
    labels: npt.NDArray[np.int64]


class ExportedFile:
    """An exported file in its runtime on the CPU: .onnx in onnxruntime, .xml in OpenVINO.

    Args:
        path: the file.
        trust: whether a .pt2 file may be read by PyTorch, which runs code that is in it.

    Attributes:
        facts: the metadata of the file.

    Raises:
        UserError: the runtime is missing, or the file is damaged or no export of this project.
    """

    def __init__(self, path: Path, trust: bool = False) -> None:
        self.path = path
        try:
            session = _opened(path, trust)
            self.facts = read_facts(session.metadata)
            kind = "uint8" if self.facts.pixels else "float32"
            outputs = list(OUTPUTS[self.facts.form])
            if session.outputs != outputs or session.inputs != [("images", kind)]:
                raise ValueError("its inputs and outputs are not those of an export")
        except UserError:
            raise
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or _reason(error)}") from error
        except Exception as error:  # a damaged file makes a runtime raise anything
            raise UserError(f"{path} is no file that can be run: {_reason(error)}") from error
        self._run = session.run

    def run(self, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """The outputs for a batch of images in the form that the file takes.

        Raises:
            UserError: the file cannot be run on them.
        """
        try:
            return self._run(images)
        except Exception as error:  # a hostile file makes a runtime raise anything
            raise UserError(f"{self.path} cannot be run: {_reason(error)}") from error


class ExportedDetector(ExportedFile):
    """Finds objects in images by an exported file with detections, or a .pt2 file.

    Args:
        path: the file.
        trust: as ExportedFile takes it.

    Attributes:
        classes: names of the labels from 1 on.

    Raises:
        UserError: as ExportedFile, or the file gives raw scores and is no .pt2 file.
    """

    def __init__(self, path: str | Path, trust: bool = False) -> None:
        super().__init__(Path(path), trust)
        if self.facts.form != "detections":
            if self.path.suffix != ".pt2":
                raise UserError(f"{path} gives raw scores: export the run without --raw")
            self._run = _program(self.path, trust).with_suppression(self._run, self.facts)
        self.classes = self.facts.classes

    def __call__(self, pixels: Pixels) -> Objects:
        """The objects in one image [H, W, 3], RGB.

        Raises:
            UserError: the file cannot be run on it.
        """
        outputs = self.run(input_of(pixels, self.facts))
        if not _are_detections(outputs, len(self.classes)):
            raise UserError(f"{self.path} gives what no export gives: export it anew")
        count = int(outputs[3][0])
        boxes, scores, labels = (output[0, :count] for output in outputs[:3])
        if not self.facts.pixels:
            height, width = pixels.shape[:2]
            input_height, input_width = both(self.facts.input_size)
            boxes = boxes * np.array([width, height] * 2, np.float32)
            boxes /= np.array([input_width, input_height] * 2, np.float32)
        return Objects(boxes, scores, labels)

    def predict(self, picture: str | Path | Pixels, min_score: float = SHOWN_SCORE) -> Result:
        """The objects in a picture: a path, or an array [H, W, 3] of 8-bit RGB.

        Raises:
            UserError: the picture cannot be read.
        """
        if isinstance(picture, str | Path):
            name, pixels = Path(picture).stem, read_picture(Path(picture))
        else:
            name, pixels = "0", picture
        (result,) = self.results([(name, pixels)], min_score)
        return result

    def results(self, named: Iterable[tuple[str, Pixels]], min_score: float) -> Iterator[Result]:
        """The results of images [H, W, 3], RGB, with their names, one after another."""
        for name, pixels in named:
            boxes, scores, labels = self(pixels)
            sure = scores >= min_score
            found = labels[sure]
            names = tuple(self.classes[label - 1] for label in found.tolist())
            yield Result(
                name, boxes[sure], scores[sure], found, names, pixels, classes=self.classes
            )


def _opened(path: Path, trust: bool) -> Session:
    if path.suffix == ".xml":
        return open_ir(path)
    if path.suffix == ".pt2":
        session: Session = _program(path, trust).open_program(path)
        return session
    return open_onnx(path)


def _program(path: Path, trust: bool) -> Any:
    """The module that runs PyTorch's programs, which alone needs PyTorch."""
    if not trust:
        raise UserError(
            f"{path} could run code when it is read: if it is your own, give --trust (in Python "
            "trust=True), else ask for an .onnx file"
        )
    try:
        return import_module("ssd.deploy.program")
    except ModuleNotFoundError as error:
        raise UserError(f"{path} needs {error.name}, which is not installed") from error


def input_of(pixels: Pixels, facts: Facts) -> npt.NDArray[Any]:
    """An image [H, W, 3], RGB, as a batch of one in the form that the file with the facts takes."""
    if facts.pixels:
        return np.ascontiguousarray(pixels)[None]
    return network_input(
        pixels, facts.input_size, facts.pixel_mean, facts.pixel_std, facts.antialias
    )


def _are_detections(outputs: Sequence[npt.NDArray[Any]], classes: int) -> bool:
    boxes, scores, labels, counts = outputs
    shapes = (boxes.ndim, scores.ndim, labels.shape, boxes.shape[-1:], counts.shape)
    if shapes != (3, 2, scores.shape, (4,), (1,)) or boxes.shape[:2] != scores.shape:
        return False
    if len(scores) != 1 or not 0 <= counts[0] <= scores.shape[1]:
        return False
    found = labels[0, : int(counts[0])]
    in_range = bool(((found >= 1) & (found <= classes)).all())
    # A number that is none is in no range.
    likely = bool(((scores >= 0) & (scores <= 1.001)).all())
    return in_range and likely and bool((np.abs(boxes) <= LARGEST_COORDINATE).all())


def _reason(error: Exception) -> str:
    """A runtime's error in one line, of which the end tells most."""
    text = CONTROL.sub(" ", one_line(error))
    if isinstance(error, MemoryError) or NO_MEMORY.search(text):
        return "it takes more memory than there is"
    return text if len(text) <= LONGEST_REASON else f"… {text[-LONGEST_REASON:]}"
