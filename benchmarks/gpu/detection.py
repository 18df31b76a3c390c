"""Times detection: postprocessing alone, and prediction from decoded pixels to detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from benchmarks.detecting import BATCH, NUM_CLASSES, SURENESS, benchmark_postprocess
from benchmarks.feeding import noise
from benchmarks.gpu import clock
from benchmarks.gpu.rows import Row
from benchmarks.gpu.steps import Model, release
from ssd.augment.batch import preprocess_of
from ssd.config import AugmentConfig, EvaluationConfig
from ssd.detect.detector import Detector
from ssd.model.device import autocast_dtype
from ssd.model.ssd import build_model
from ssd.structures import Predictions


def postprocess_name(sureness: str) -> str:
    """The name of the row of postprocessing."""
    return f"postprocess, batch {BATCH}, {NUM_CLASSES} classes, {sureness}"


def prediction_name(model: Model, batch_size: int) -> str:
    """The name of the row of prediction."""
    return f"prediction, {model.name}, batch {batch_size}"


def time_postprocess(device: torch.device) -> Iterator[Row]:
    """Times postprocessing on logits as before and as after training."""
    release(device)
    timed = benchmark_postprocess(False, 3 * clock.ROUNDS, device)
    for sureness, each in zip(SURENESS, timed, strict=True):
        yield Row(postprocess_name(sureness), 1e3 * each.seconds["ours"], "ms")


def time_prediction(
    model: Model, batch_sizes: Sequence[int], size: tuple[int, int], device: torch.device
) -> Iterator[Row]:
    """Times prediction: from images of (height, width) pixels on the host to detections there."""
    release(device)
    packs = [noise(count, *size) for count in batch_sizes]
    detector = new_detector(model, max(batch_sizes), device)
    for count, samples in zip(batch_sizes, packs, strict=True):
        ready = samples.pin_memory() if device.type == "cuda" else samples
        found = sum(len(each.scores) for each in detector(ready)) / count
        seconds = clock.seconds_per_call(partial(detector, ready), device)
        details = f"{1e3 * seconds:.1f} ms; {found:.0f} detections an image"
        yield Row(prediction_name(model, count), count / seconds, "images/s", details)


def new_detector(model: Model, images: int, device: torch.device) -> Detector:
    """A detector with random weights for at most so many images, as sure as a trained one."""
    torch.manual_seed(0)
    network = build_model(model.config, model.num_classes)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    dtype = autocast_dtype("auto", device)
    logits = torch.randn(images, len(network.default_boxes), model.num_classes)
    logits[..., 0] += SURENESS["trained"]
    on_device = logits.to(device, dtype or torch.float32)

    def surer(_head: nn.Module, _maps: object, predictions: Predictions) -> Predictions:
        """Takes the place of what random weights predict, after the work is done."""
        return replace(predictions, logits=on_device[: len(predictions.logits)])

    network.head.register_forward_hook(surer)
    classes = tuple(f"class {number}" for number in range(1, model.num_classes))
    preprocess = preprocess_of(model.config, AugmentConfig())
    return Detector(network, preprocess, classes, dtype, EvaluationConfig())
