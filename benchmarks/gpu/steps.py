"""Times training steps on a fixed batch: plain, as a CUDA graph, and compiled as well.

Each is set beside the rate of a large matrix product on the same card, beside the time of its
convolutions alone, and beside torchvision's step.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from benchmarks.gpu.clock import host_seconds, seconds_per_call
from benchmarks.gpu.convolutions import convolutions, operations_of_all, seconds_of_all
from benchmarks.gpu.rows import Known, Row
from benchmarks.training import SIZE, our_state, random_batch, torchvision_step
from ssd.common.graph import Graphs
from ssd.common.sides import both
from ssd.config import ModelConfig
from ssd.model.device import autocast_dtype
from ssd.steps import StepFigures
from ssd.structures import Batch
from ssd.training.compiled import compile_step
from ssd.training.step import image_losses, train_step

Kind = Literal["plain", "graph", "compiled + graph"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TakeStep = Callable[[list[Batch]], StepFigures]
MATMUL = "matrix product"


@dataclass(frozen=True)
class Model:
    """A network and its number of classes, with the background."""

    name: str
    config: ModelConfig
    num_classes: int = 21


VGG16 = Model("VGG16", ModelConfig("vgg16", 300))
RESNET50 = Model("ResNet-50", ModelConfig("resnet50", 300), 81)  # as NVIDIA's, on COCO
SSD7 = Model("SSD7", ModelConfig("ssd7", 300))
MOBILENET = Model("MobileNetV3", ModelConfig("mobilenet_v3_large", 320))


def step_name(model: Model, batch_size: int, kind: Kind) -> str:
    """The name of the row of a step."""
    return f"step, {model.name}, batch {batch_size}, {kind}"


def memory_name(model: Model, batch_size: int) -> str:
    """The name of the row of a compiled step's memory."""
    return f"peak memory, {model.name}, batch {batch_size}"


def ratio_name(batch_size: int, precision: str) -> str:
    """The name of the row of our rate / torchvision's."""
    return f"VGG16 beside torchvision's in {precision}, batch {batch_size}"


def time_matmul(size: int, device: torch.device) -> Iterator[Row]:
    """Times the product of two square matrices in the training precision."""
    dtype = autocast_dtype("auto", device) or torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    seconds = seconds_per_call(lambda: torch.mm(a, b, out=out), device)
    details = f"{size} x {size}, {str(dtype).removeprefix('torch.')}"
    yield Row(MATMUL, 2 * size**3 / seconds / 1e12, "TFLOP/s", details)


def time_steps(
    model: Model, kinds: Mapping[int, Sequence[Kind]], device: torch.device, known: Known
) -> Iterator[Row]:
    """Times kinds of steps of a model, by batch size; a CPU takes only plain ones."""
    for batch_size, wanted in kinds.items():
        operations = operations_of_all(convolutions(model.config, model.num_classes, batch_size))
        for kind in wanted:
            yield from time_step(model, batch_size, kind, operations, device, known)


def time_step(
    model: Model, batch_size: int, kind: Kind, operations: int, device: torch.device, known: Known
) -> list[Row]:
    """The rows of one kind of step; they leave nothing on the device."""
    release(device)
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    batches = [random_batch(batch_size, model.config.input_size, device, model.num_classes)]
    started = time.perf_counter()
    step = training_step(model, batch_size, kind, device)
    built = time.perf_counter() - started
    step(batches)
    if device.type == "cuda":  # cuDNN's search for algorithms needs memory, but no later step does
        torch.cuda.reset_peak_memory_stats()
    seconds = seconds_per_call(lambda: step(batches), device)
    host = host_seconds(lambda: step(batches), device)
    if bool(step(batches).skipped):
        raise RuntimeError("the gradient is not finite, so nothing was trained")
    details = f"{1e3 * seconds:.2f} ms; host {1e3 * host:.2f} ms"
    if MATMUL in known:
        share = operations / seconds / (1e12 * known[MATMUL])
        details += f"; {share:.0%} of the matrix product's rate"
    if kind != "compiled + graph":
        return [Row(step_name(model, batch_size, kind), batch_size / seconds, "images/s", details)]
    details += f"; compiled in {built:.0f} s"
    rows = [Row(step_name(model, batch_size, kind), batch_size / seconds, "images/s", details)]
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() - before
        rows += [Row(memory_name(model, batch_size), peak / 1e9, "GB")]
    return rows


def time_convolutions(
    model: Model, batch_size: int, device: torch.device, known: Known
) -> Iterator[Row]:
    """Times the convolutions of a step alone; the known steps are set beside them."""
    release(device)
    dtype = autocast_dtype("auto", device) or torch.float32
    found = convolutions(model.config, model.num_classes, batch_size)
    seconds = seconds_of_all(found, dtype, device)
    shares = [
        f"{kind} {seconds * known[step] / batch_size:.0%}"
        for kind in KINDS
        if (step := step_name(model, batch_size, kind)) in known
    ]
    name = f"convolutions alone, {model.name}, batch {batch_size}"
    details = f"share of the step: {', '.join(shares)}" if shares else ""
    yield Row(name, 1e3 * seconds, "ms", details)


def training_step(model: Model, batch_size: int, kind: Kind, device: torch.device) -> TakeStep:
    """A step as the trainer takes it, in the default precision.

    Raises:
        RuntimeError: it cannot be compiled or captured; training would go on without.
    """
    dtype = autocast_dtype("auto", device)
    state, settings = our_state(model.config, dtype, device, model.num_classes)
    if kind == "compiled + graph":
        lines: list[str] = []
        shape = torch.Size((batch_size, 3, *both(model.config.input_size)))
        compile_step(state, settings, shape, lines.append)
        if state.image_losses is image_losses:
            raise RuntimeError(lines[-1])

    def take(batches: list[Batch]) -> StepFigures:
        return train_step(state, batches, settings)

    return take if kind == "plain" else Graphs(take, refuse)


def refuse(line: str) -> None:
    """Raises what a run would only tell: that there can be no graph."""
    raise RuntimeError(line)


def time_torchvision(
    batch_sizes: Sequence[int], device: torch.device, known: Known
) -> Iterator[Row]:
    """Times torchvision's SSD300-VGG16 in fp32 and with autocast, and sets ours beside it."""
    low = autocast_dtype("auto", device)
    precisions = ({"AMP": low} if low else {}) | {"fp32": None}  # the bar is for AMP
    for precision, dtype in precisions.items():
        for batch_size in batch_sizes:
            release(device)
            step = torchvision_step(random_batch(batch_size, SIZE, device), dtype)
            seconds = seconds_per_call(step, device)
            del step
            rate = batch_size / seconds
            name = f"torchvision's step in {precision}, batch {batch_size}"
            yield Row(name, rate, "images/s", f"{1e3 * seconds:.1f} ms")
            ours = {kind: known.get(step_name(VGG16, batch_size, kind), 0) for kind in KINDS}
            best = max(KINDS, key=ours.__getitem__)
            if ours[best]:
                ratio = ratio_name(batch_size, precision)
                yield Row(ratio, ours[best] / rate, "times its rate", f"ours: {best}")


def release(device: torch.device) -> None:
    """Gives back all memory of a GPU that nobody uses, and starts its peak anew."""
    if device.type == "cuda":
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
