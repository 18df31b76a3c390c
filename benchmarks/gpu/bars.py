"""The figures to reach on an H100 and on an H200; some hold for any GPU."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.detecting import SURENESS
from benchmarks.gpu import parts
from benchmarks.gpu.detection import postprocess_name, prediction_name
from benchmarks.gpu.pipelines import fed_name, fixed_name, unused_name
from benchmarks.gpu.rows import figure
from benchmarks.gpu.steps import RESNET50, SSD7, VGG16, memory_name, ratio_name, step_name


@dataclass(frozen=True)
class Bar:
    """A limit of a figure: the lowest one or, for `highest`, the highest one."""

    number: float
    highest: bool = False

    def is_reached(self, number: float) -> bool:
        """Returns whether a figure is within the limit."""
        return number <= self.number if self.highest else number >= self.number

    def __str__(self) -> str:
        """The limit with its sign."""
        return f"{'≤' if self.highest else '≥'} {figure(self.number)}"


def bars_for(card: str) -> dict[str, Bar]:
    """The bars for a GPU of this name, by the names of their rows."""
    large, small = parts.LARGE, parts.SMALL
    bars = {
        parts.WAITS: Bar(0, highest=True),
        fed_name(VGG16, large, "device cache"): Bar(95),
        fed_name(VGG16, large, "JPEG files"): Bar(95),
        fed_name(SSD7, small, "device cache"): Bar(95),
        memory_name(VGG16, large): Bar(9.5, highest=True),
    }
    if "H100" in card or "H200" in card:
        newer = "H200" in card
        bars |= {
            step_name(VGG16, large, parts.COMPILED): Bar(2250 if newer else 2000),
            ratio_name(large, "AMP"): Bar(7 if newer else 6.5),
            # Twice NVIDIA's SSD300-ResNet50 on an H100, as in lambdal/deeplearning-benchmark.
            step_name(RESNET50, large, parts.COMPILED): Bar(2 * 867),
            fixed_name(SSD7, small): Bar(8000),
            unused_name("host cache", parts.FEW_WORKERS): Bar(10_000),
            prediction_name(VGG16, small): Bar(2500),
        }
        bars |= {postprocess_name(sureness): Bar(3, highest=True) for sureness in SURENESS}
    return bars
