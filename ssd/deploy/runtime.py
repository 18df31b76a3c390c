"""Runs an exported ONNX file: onnxruntime, NumPy and OpenCV are all that it needs.

Letters: `H`, `W` pixels of an image, `D` its detections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ssd.common.errors import UserError, one_line
from ssd.common.machine import usable_cores
from ssd.deploy.facts import OUTPUTS, Facts, read_facts
from ssd.deploy.resize import Floats, network_input
from ssd.deploy.untrusted import read_onnx
from ssd.detect.few_packages import Pixels, read_picture
from ssd.detect.result import Result
from ssd.report.pictures import SHOWN_SCORE

LONGEST_REASON = 200
SILENT = 4  # onnxruntime's level of fatal errors: it raises all others
INSTALL = "pip install onnxruntime"


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
    """An exported ONNX file in onnxruntime on the CPU.

    Args:
        path: the file.

    Attributes:
        facts: the metadata of the file.

    Raises:
        UserError: onnxruntime is missing, or the file is damaged or no export of this project.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{path} needs onnxruntime, which is not there: {INSTALL}") from error
        content = read_onnx(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = SILENT
        options.intra_op_num_threads = usable_cores()
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            self.facts = read_facts(self._session.get_modelmeta().custom_metadata_map)
            names = [output.name for output in self._session.get_outputs()]
            inputs = [(each.name, each.type) for each in self._session.get_inputs()]
            kind = "tensor(uint8)" if self.facts.pixels else "tensor(float)"
            if names != list(OUTPUTS[self.facts.form]) or inputs != [("images", kind)]:
                raise ValueError("its inputs and outputs are not those of an export")
        except Exception as error:  # a damaged file makes onnxruntime raise anything
            raise UserError(f"{path} is no file that can be run: {_reason(error)}") from error
        self.path = path

    def run(self, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """The outputs for a batch of images in the form that the file takes.

        Raises:
            UserError: the file cannot be run on them.
        """
        try:
            outputs: list[npt.NDArray[Any]] = self._session.run(None, {"images": images})
        except Exception as error:  # a hostile file makes onnxruntime raise anything
            raise UserError(f"{self.path} cannot be run: {_reason(error)}") from error
        return outputs


class ExportedDetector(ExportedFile):
    """Finds objects in images by an exported file with detections.

    Args:
        path: the file.

    Attributes:
        classes: names of the labels from 1 on.

    Raises:
        UserError: as ExportedFile, or the file gives raw scores.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(Path(path))
        if self.facts.form != "detections":
            raise UserError(f"{path} gives raw scores: export the run without --raw")
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
            boxes = boxes * np.array([width, height] * 2, np.float32)
            boxes /= self.facts.input_size
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
    return in_range and bool(np.isfinite(boxes).all() and np.isfinite(scores).all())


def _reason(error: Exception) -> str:
    return one_line(error)[:LONGEST_REASON]
