"""The parts of the benchmark with their sizes, the most important ones first."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu.augmentation import time_kernel, time_plan
from benchmarks.gpu.detection import time_postprocess, time_prediction
from benchmarks.gpu.pictures import images_of
from benchmarks.gpu.pipelines import CACHES, Source, time_pipelines, time_reading
from benchmarks.gpu.rows import Known, Options, Part, Row
from benchmarks.gpu.steps import (
    MOBILENET,
    RESNET50,
    SSD7,
    VGG16,
    Kind,
    Model,
    time_convolutions,
    time_matmul,
    time_steps,
    time_torchvision,
)
from benchmarks.waits import waits_of_a_step

SMALL, LARGE = 32, 128  # images of a batch
MATMUL_SIZE = 8192
PHOTO = 480, 640
FEW_WORKERS = 8
PLAIN: tuple[Kind, ...] = ("plain", "graph")
COMPILED: Kind = "compiled + graph"
WAITS = "waits of the host in a step"


def gpu() -> torch.device:
    """The GPU, with training's choice of algorithms."""
    torch.cuda.init()  # type: ignore[no-untyped-call]  # resetting the peak of memory does not
    torch.backends.cudnn.benchmark = True  # as `seed_everything`
    return torch.device("cuda")


def waits(_options: Options, _known: Known) -> Iterator[Row]:
    """The waits of a step."""
    places = waits_of_a_step(VGG16.config, 8, gpu())
    yield Row(WAITS, len(places), "", ", ".join(places))


def matmul(_options: Options, _known: Known) -> Iterator[Row]:
    """The rate that steps are compared with."""
    yield from time_matmul(MATMUL_SIZE, gpu())


def vgg16(_options: Options, known: Known) -> Iterator[Row]:
    """Steps of SSD300-VGG16."""
    kinds = {LARGE: (COMPILED, *PLAIN), SMALL: PLAIN}
    yield from time_steps(VGG16, kinds, gpu(), known)


def torchvision(_options: Options, known: Known) -> Iterator[Row]:
    """Steps of torchvision's SSD300-VGG16."""
    yield from time_torchvision((LARGE, SMALL), gpu(), known)


def resnet50(_options: Options, known: Known) -> Iterator[Row]:
    """Steps of SSD300-ResNet-50."""
    kinds = {LARGE: (COMPILED, *PLAIN), SMALL: PLAIN}
    yield from time_steps(RESNET50, kinds, gpu(), known)


def small_models(_options: Options, known: Known) -> Iterator[Row]:
    """Steps of SSD7 and of SSDLite-MobileNetV3."""
    for model in (SSD7, MOBILENET):
        yield from time_steps(model, {SMALL: PLAIN, LARGE: PLAIN}, gpu(), known)


def all_convolutions(_options: Options, known: Known) -> Iterator[Row]:
    """The convolutions of all models."""
    for model in (VGG16, RESNET50, SSD7, MOBILENET):
        yield from time_convolutions(model, LARGE, gpu(), known)


def postprocess(_options: Options, _known: Known) -> Iterator[Row]:
    """From predictions to detections."""
    yield from time_postprocess(gpu())


def prediction(_options: Options, _known: Known) -> Iterator[Row]:
    """From pixels to detections, with SSD300-VGG16."""
    yield from time_prediction(VGG16, (1, SMALL), PHOTO, gpu())


def reading(options: Options, _known: Known) -> Iterator[Row]:
    """The workers alone, and batches without training."""
    records, workers = images_of(options).records, options.workers
    sources: list[tuple[Source, int]] = [
        ("host cache", min(FEW_WORKERS, workers)),
        ("device cache", workers),
        ("JPEG files", workers),
    ]
    yield from time_reading(VGG16.config, LARGE, records, workers, sources, gpu())


def feeding(model: Model, batch_size: int, options: Options, known: Known) -> Iterator[Row]:
    """Training of a model on the pipeline."""
    data, workers = images_of(options), options.workers
    yield from time_pipelines(
        model, batch_size, COMPILED, data, workers, list(CACHES), gpu(), known
    )


def pipeline_vgg16(options: Options, known: Known) -> Iterator[Row]:
    """Training of SSD300-VGG16 on the pipeline."""
    yield from feeding(VGG16, LARGE, options, known)


def pipeline_ssd7(options: Options, known: Known) -> Iterator[Row]:
    """Training of SSD7 on the pipeline."""
    yield from feeding(SSD7, SMALL, options, known)


def augmentation(_options: Options, _known: Known) -> Iterator[Row]:
    """The augmentation's kernel and its plan."""
    yield from time_plan(LARGE, gpu())
    yield from time_kernel(gpu())


PARTS = {
    "waits": Part(40, waits),
    "matmul": Part(20, matmul),
    "vgg16": Part(120, vgg16),
    "torchvision": Part(100, torchvision),
    "postprocess": Part(40, postprocess),
    "prediction": Part(40, prediction),
    "reading": Part(50, reading),
    "pipeline-vgg16": Part(120, pipeline_vgg16),
    "pipeline-ssd7": Part(90, pipeline_ssd7),
    "resnet50": Part(150, resnet50),
    "augmentation": Part(30, augmentation),
    "small-models": Part(60, small_models),
    "convolutions": Part(90, all_convolutions),
}
