"""Exports a trained network with its postprocessing, and checks the file before it is called done.

The file is written as NAME.failed.onnx, run in its own runtime beside the model, and gets its name
only if they agree.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.common.sides import both, one_or_both
from ssd.config import AugmentConfig, Config
from ssd.config.settings import Settings, merge, to_yaml
from ssd.deploy.agreement import Agreement, compare_objects
from ssd.deploy.card import check_card, write_card
from ssd.deploy.compare import Difference, compare_detections, compare_raw
from ssd.deploy.evaluate import PLACES
from ssd.deploy.facts import Facts
from ssd.deploy.graph import DetectionGraph, RawGraph
from ssd.deploy.onnx_file import OPSET, need_packages, onnx_bytes, traced
from ssd.deploy.openvino_file import ir_content
from ssd.deploy.program import compiled_bytes, need_compiler, program_bytes
from ssd.deploy.runtime import ExportedDetector, ExportedFile, input_of
from ssd.deploy.samples import Samples
from ssd.deploy.score import RawDetector, score_change
from ssd.deploy.smaller import Numbers, halved, quantised
from ssd.detect.detector import Detector
from ssd.detect.evaluate import run_of
from ssd.detect.few_packages import Pixels
from ssd.detect.load import build_detector, config_of, open_checkpoint
from ssd.run.checkpoint import Checkpoint
from ssd.run.folder import check_place

EXACT: Settings = {
    "training": {"device": "cpu", "precision": "fp32"},
    "evaluation": {"mirror": False},
}
LICENCES = {
    "none": "the choice of who trained it: from random weights, on the data above",
    "imagenet": "as ImageNet permits: from torchvision's weights (BSD 3-Clause), trained on it",
    "torchvision": "as COCO permits: from torchvision's detector (BSD 3-Clause), trained on it",
}


class Wanted(NamedTuple):
    """The form of the file to write.

    Attributes:
        raw: scores and boxes of all default boxes, without suppression.
        pixels: resize and normalise inside.
        images: folder of images to check the file on; by default those of the evaluation.
        compiled: machine code for this kind of CPU in a .pt2 file.
        numbers: those that the network of an .onnx file computes with.
    """

    raw: bool = False
    pixels: bool = False
    images: Path | None = None
    compiled: bool = False
    numbers: Numbers = "float32"


def export_graph(
    trained: Path, out: Path, wanted: Wanted, overrides: Settings, which: str | None = None
) -> str:
    """Writes an .onnx, a .pt2, or an .xml and a .bin file, and MODEL.md beside it.

    Args:
        trained: run folder or checkpoint; averaged weights are used if it has them.
        out: the file to write.
        wanted: its form.
        overrides: settings that differ from those of the run, such as thresholds.
        which: the checkpoint of a run folder, as `open_checkpoint` takes it.

    Returns:
        The text for a terminal.

    Raises:
        UserError: the file differs from the model by more than the bounds, there is nothing to
            check it on, or a package is missing.
    """
    check_target(out, wanted)
    checkpoint = open_checkpoint(trained, which)
    merge(overrides, EXACT)
    config = config_of(checkpoint, overrides)
    detector = build_detector(checkpoint, config)
    run = run_of(checkpoint.path)
    samples = Samples(config, detector.classes, run, wanted.images)
    data = samples.evaluation_data()
    images = samples.to_check(data)
    facts = facts_of(checkpoint, config, wanted, trained.name if run is None else run.name)
    contents = file_contents(detector, facts, out.suffix, wanted.compiled)
    if wanted.numbers != "float32":
        contents = {out.suffix: smaller(contents[out.suffix], wanted.numbers, facts, samples)}
    failed = out.with_name(f"{out.stem}.failed{out.suffix}")
    out.parent.mkdir(parents=True, exist_ok=True)
    for suffix, content in contents.items():
        write_whole(failed.with_suffix(suffix), content)
    difference = check(failed, detector, facts, images, wanted.numbers)
    told = f"checked on {len(images)} images beside the model: {difference}"
    if not difference.is_small:
        raise UserError(
            f"{told}; {difference.allowed}: the file is kept as {failed}, please report it"
        )
    change = ""
    if wanted.numbers != "float32":
        change = score_change(detector, opened(failed, facts), data, config, wanted.numbers)
        told = f"{told}\n{change}"
    for suffix in reversed(contents):
        failed.with_suffix(suffix).replace(out.with_suffix(suffix))
    score = checkpoint.manifest.mean_average_precision
    card = write_card(out, facts, difference, data_of(config), score, wanted.compiled, change)
    using = f"using {checkpoint.choice} ({checkpoint.path})"
    return f"{using}\n{told}\nwritten: {files_of(out, contents)}, {card}"


def files_of(out: Path, contents: Mapping[str, bytes]) -> str:
    """The written files, with their size, for a terminal."""
    opset = f", opset {OPSET}" if out.suffix == ".onnx" else ""
    size = sum(map(len, contents.values())) / 1e6
    files = ", ".join(str(out.with_suffix(suffix)) for suffix in contents)
    return f"{files} ({size:.1f} MB{opset})"


def check_target(out: Path, wanted: Wanted) -> None:
    """Raises a UserError if the file cannot be written, or would overwrite something."""
    if out.suffix == ".pt2" and not wanted.raw:
        raise UserError(f"{out} needs --raw: PyTorch has no operator for NMS, but ONNX has")
    if wanted.compiled and out.suffix != ".pt2":
        raise UserError("--compile is for a file that ends in .pt2")
    if wanted.numbers != "float32" and out.suffix != ".onnx":
        raise UserError("--half and --int8 are for a file that ends in .onnx")
    need_packages(out.suffix)
    if wanted.compiled:
        need_compiler()
    for file in (out, out.with_suffix(".bin")) if out.suffix == ".xml" else (out,):
        if os.path.lexists(file):
            raise UserError(f"{file} is there already: remove it, or give another --out")
    check_place(out.parent)
    check_card(out)


def facts_of(checkpoint: Checkpoint, config: Config, wanted: Wanted, run: str) -> Facts:
    """The metadata of the file."""
    model, evaluation = config.model, config.evaluation
    own = Config(
        data=replace(config.data, **PLACES),
        augment=replace(AugmentConfig(), antialias=config.augment.antialias),
        model=replace(model, weights="none"),
        evaluation=evaluation,
    )
    licence = LICENCES.get(model.weights, f"as that of {Path(model.weights).name}: from it")
    return Facts(
        form="raw" if wanted.raw else "detections",
        pixels=wanted.pixels,
        classes=tuple(checkpoint.manifest.classes),
        input_size=one_or_both(*both(model.input_size)),
        pixel_mean=tuple(model.pixel_mean),
        pixel_std=tuple(model.pixel_std),
        antialias=config.augment.antialias,
        score_threshold=evaluation.score_threshold,
        nms_iou=evaluation.nms_iou,
        top_k=evaluation.top_k,
        max_detections=evaluation.max_detections,
        run=run,
        step=checkpoint.manifest.step,
        date=datetime.date.today().isoformat(),
        licence=licence,
        config=to_yaml(own),
    )


def file_contents(
    detector: Detector, facts: Facts, suffix: str, compiled: bool = False
) -> dict[str, bytes]:
    """The content of each file to write, by its suffix: .onnx, .pt2, or .xml and .bin."""
    parts = detector.model, detector.preprocess, facts.pixels
    is_raw = facts.form == "raw"
    program = traced(RawGraph(*parts) if is_raw else DetectionGraph(*parts, detector.config))
    if suffix == ".pt2":
        return {suffix: (compiled_bytes if compiled else program_bytes)(program, facts)}
    content = onnx_bytes(program, facts)
    return ir_content(content) if suffix == ".xml" else {suffix: content}


def smaller(content: bytes, numbers: Numbers, facts: Facts, samples: Samples) -> bytes:
    """An ONNX file whose network computes with other numbers."""
    if numbers == "float16":
        return halved(content)
    return quantised(content, (input_of(each, facts) for each in samples.to_calibrate()))


def check(
    file: Path, detector: Detector, facts: Facts, images: list[Pixels], numbers: Numbers
) -> Difference | Agreement:
    """The differences between the file, in its own runtime, and the model."""
    if numbers != "float32":
        return compare_objects(detector, opened(file, facts), images, numbers)
    if facts.form == "detections":
        return compare_detections(detector, ExportedDetector(file), images)
    run = ExportedFile(file, trust=True).run
    return compare_raw(detector, lambda each: run(input_of(each, facts)), images, facts.pixels)


def opened(file: Path, facts: Facts) -> ExportedDetector:
    """An ONNX file as a detector, in whatever form it gives its results."""
    return (ExportedDetector if facts.form == "detections" else RawDetector)(file)


def data_of(config: Config) -> str:
    """The data that a run was trained on, without its place."""
    splits = config.data.train_split
    names = splits if isinstance(splits, str) else ", ".join(splits)
    return f"{Path(config.data.root).name} ({names})"
