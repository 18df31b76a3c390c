"""Times detectors from JPEG files to boxes in every runtime, on one and two CPU threads.

Random weights take as long as trained ones if as many candidates compete, so the outputs of every
network are brought to those of a trained one: see `trained_like`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from benchmarks.compare import compare
from benchmarks.gpu.pictures import jpeg
from ssd.augment.batch import preprocess_of
from ssd.common.machine import usable_cores
from ssd.common.sides import both, one_or_both
from ssd.config import Config, EvaluationConfig, ModelConfig
from ssd.deploy.export import file_contents
from ssd.deploy.facts import Facts
from ssd.deploy.onnx_file import need_packages
from ssd.deploy.runtime import ExportedFile, input_of
from ssd.deploy.smaller import quantised
from ssd.detect.detector import Detector
from ssd.detect.few_packages import Pixels
from ssd.model.ssd import build_model

NETWORKS = {"mobilenet_v3_large": 320, "resnet50": 300, "vgg16": 300, "ssd7": 300}
LIKE_TORCHVISIONS = "mobilenet_v3_large"
NUM_CLASSES = 91  # as of torchvision's network
CANDIDATES = 1000  # pairs of a default box and a class above the score threshold, in an image
SPREAD = 2.0  # standard deviation of the logits
BATCHES = 1, 8
THREADS = 1, 2
SEED = 0
CPU = torch.device("cpu")

Find = Callable[[Sequence[Pixels]], object]


def benchmark_deploy(rounds: int) -> Iterator[str]:
    """Yields the lines of a table for each network, once for each number of threads.

    Raises:
        UserError: a package that the ONNX file needs is missing.
    """
    need_packages(".onnx")
    generator = np.random.default_rng(SEED)
    files = [jpeg(generator) for _ in range(max(BATCHES))]
    yield cpu_line()
    if find_spec("openvino") is None:
        yield "OpenVINO is left out: pip install openvino"
    with TemporaryDirectory() as name:
        for threads in THREADS[: usable_cores()]:
            for network in NETWORKS:
                with limited(threads):
                    yield from benchmark_network(network, Path(name), files, threads, rounds)


def benchmark_network(
    network: str, folder: Path, files: Sequence[bytes], threads: int, rounds: int
) -> Iterator[str]:
    """Yields the lines of the table for a network, whose exported files stay in the folder."""
    pictures = [decoded(file) for file in files]
    detector = random_detector(network, NETWORKS[network], pictures)
    theirs = random_torchvision(pictures) if network == LIKE_TORCHVISIONS else None
    own = folder / network
    if not own.exists():
        own.mkdir()
        write_files(own, detector, pictures)
    sides = sides_of(own, detector, theirs)
    title = f"{network} at {NETWORKS[network]}"
    yield from table(title, sides, bytes_of(own, detector), files, threads, rounds)


def cpu_line() -> str:
    """The name of the processor, and which of the instructions that matter here it has."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "the processor is unknown"
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    model, flags = (
        next((value for key, value in lines.items() if key.strip() == name), "").split()
        for name in ("model name", "flags")
    )
    has = [name for name in ("avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16") if name in flags]
    return f"{' '.join(model)}, {' '.join(has) or 'without AVX512 and VNNI'}"


def decoded(file: bytes) -> Pixels:
    """The pixels of a JPEG file [H, W, 3], RGB, by OpenCV, for all sides alike."""
    pixels: Any = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(pixels, np.uint8)


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Confines this process to so many cores, by which every runtime chooses its threads."""
    before, cores = torch.get_num_threads(), os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        os.sched_setaffinity(0, cores)


def random_detector(name: str, size: int, pictures: Sequence[Pixels]) -> Detector:
    """A detector with random weights and the outputs of a trained one."""
    torch.manual_seed(SEED)
    config = Config(model=ModelConfig(name, size))
    model = build_model(config.model, NUM_CLASSES)
    preprocess = preprocess_of(config.model, config.augment)
    classes = tuple(f"class {number}" for number in range(1, NUM_CLASSES))
    detector = Detector(model, preprocess, classes, None, config.evaluation)
    facts = facts_of(detector)
    images = torch.from_numpy(np.concatenate([input_of(each, facts) for each in pictures]))
    predictors = [list(layer.modules())[-1] for layer in model.head.logits]
    trained_like(model, predictors, lambda: model(images).logits)
    return detector


def random_torchvision(pictures: Sequence[Pixels]) -> Any:
    """The network of torchvision with random weights, our thresholds and as many candidates."""
    torch.manual_seed(SEED)
    config = EvaluationConfig()
    model = ssdlite320_mobilenet_v3_large(
        weights=None,
        weights_backbone=None,
        num_classes=NUM_CLASSES,
        score_thresh=config.score_threshold,
        nms_thresh=config.nms_iou,
        topk_candidates=config.top_k,
        detections_per_img=config.max_detections,
    )
    images, _ = model.transform([as_tensor(each) for each in pictures])
    predictors = [layer[-1] for layer in model.head.classification_head.module_list]

    def logits() -> Tensor:
        maps = list(model.backbone(images.tensors).values())
        found: Tensor = model.head(maps)["cls_logits"]
        return found

    trained_like(model, predictors, logits)
    return model


@torch.no_grad()
def trained_like(
    model: nn.Module, predictors: Sequence[nn.Module], logits: Callable[[], Tensor]
) -> None:
    """Changes random weights so that the network's outputs resemble those of a trained one.

    The statistics of BatchNorm become those of the images, the logits spread, and the background
    leads so far that about `CANDIDATES` scores of an image are above the threshold.

    Args:
        model: left in evaluation mode.
        predictors: the last convolutions of the classes.
        logits: gives logits [B, P, C], background first.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, here one
    model.train()
    logits()
    model.eval()
    spread = logits().std()
    for layer in predictors:
        layer.weight *= SPREAD / spread  # type: ignore[operator]
    found = logits()
    low, high = 0.0, 100.0
    for _ in range(30):
        lead = (low + high) / 2
        found_with = found.clone()
        found_with[..., 0] += lead
        above = found_with.softmax(-1)[..., 1:] > EvaluationConfig.score_threshold
        many = above.sum() > CANDIDATES * len(found)
        low, high = (lead, high) if many else (low, lead)
    for layer in predictors:
        layer.bias.view(-1, NUM_CLASSES)[:, 0] += low  # type: ignore[operator]


def facts_of(detector: Detector) -> Facts:
    """The metadata of the files, whose images come resized and normalised."""
    preprocess, config = detector.preprocess, detector.config
    return Facts(
        form="detections",
        pixels=False,
        classes=detector.classes,
        input_size=one_or_both(*both(preprocess.size)),
        pixel_mean=tuple(preprocess.mean),
        pixel_std=tuple(preprocess.std),
        antialias=preprocess.antialias,
        score_threshold=config.score_threshold,
        nms_iou=config.nms_iou,
        top_k=config.top_k,
        max_detections=config.max_detections,
        run="benchmark",
        step=0,
        date="",
        licence="",
        config="",
    )


def write_files(folder: Path, detector: Detector, pictures: Sequence[Pixels]) -> None:
    """Writes the detector for each runtime that is installed."""
    facts = facts_of(detector)
    files = file_contents(detector, facts, ".onnx")
    files["int8.onnx"] = quantised(files[".onnx"], (input_of(each, facts) for each in pictures))
    if find_spec("openvino"):
        files |= file_contents(detector, facts, ".xml")
    names = {".onnx": "ONNX.onnx", ".xml": "OpenVINO.xml", ".bin": "OpenVINO.bin"}
    for name, content in files.items():
        (folder / names.get(name, name)).write_bytes(content)


def bytes_of(folder: Path, detector: Detector) -> dict[str, int]:
    """The bytes of the files of each side, and of the model's weights."""
    weights = sum(each.nbytes for each in detector.model.state_dict().values())
    sizes = {"eager": weights, "compiled": weights}
    for file in folder.iterdir():
        sizes[file.stem] = sizes.get(file.stem, 0) + file.stat().st_size
    return sizes


def sides_of(folder: Path, detector: Detector, theirs: Any) -> dict[str, Find]:
    """A function that finds the objects in decoded images, for each way to run a detector."""
    sides: dict[str, Find] = {"ONNX": run_by(folder / "ONNX.onnx")}
    sides["int8"] = run_by(folder / "int8.onnx")
    if (folder / "OpenVINO.xml").exists():
        sides["OpenVINO"] = run_by(folder / "OpenVINO.xml")
    sides["eager"] = run_eagerly(detector, detector.model)
    torch.compiler.reset()
    sides["compiled"] = run_eagerly(detector, torch.compile(detector.model, dynamic=False))
    if theirs is not None:
        sides["torchvision, eager"] = torch.no_grad()(
            lambda pictures: theirs([as_tensor(each) for each in pictures])
        )
    return sides


def run_by(path: Path) -> Find:
    """Runs an exported file on a batch, resized by NumPy as `ssd predict` does."""
    file = ExportedFile(path)

    def find(pictures: Sequence[Pixels]) -> object:
        return file.run(np.concatenate([input_of(each, file.facts) for each in pictures]))

    return find


def run_eagerly(detector: Detector, model: Any) -> Find:
    """Runs the detector with a model that may be compiled."""
    same = Detector(
        model, detector.preprocess, detector.classes, None, detector.config, graphs=False
    )
    return lambda pictures: list(same.results([("", each) for each in pictures], 0))


def as_tensor(pixels: Pixels) -> Tensor:
    """An image as torchvision's network takes it: [3, H, W], 0 … 1."""
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def table(
    name: str,
    sides: dict[str, Find],
    sizes: dict[str, int],
    files: Sequence[bytes],
    threads: int,
    rounds: int,
) -> Iterator[str]:
    """The lines of a table: size, time of an image at batch 1, and images/s at batch 8."""
    seconds = []
    for batch in BATCHES:
        timed = {
            side: lambda find=find, batch=batch: find([decoded(file) for file in files[:batch]])
            for side, find in sides.items()
        }
        # With one thread, the time of the processor is that of the work, whatever else runs.
        clock = time.process_time if threads == 1 else time.perf_counter
        label = f"{name}, batch {batch}, {threads} threads"
        seconds.append(compare(label, timed, rounds, CPU, clock).seconds)
    yield f"\n| {name}, threads: {threads} | MB | ms, batch 1 | ONNX / it | images/s, batch 8 |"
    yield "|---|---|---|---|---|"
    one, many = seconds
    for side in sides:
        size = f"{sizes[side] / 1e6:.1f}" if side in sizes else ""
        ratio, rate = one["ONNX"] / one[side], BATCHES[-1] / many[side]
        yield f"| {side} | {size} | {1e3 * one[side]:.1f} | {ratio:.2f} | {rate:.1f} |"
