"""Draws the gallery of docs/spikes.md: one small picture of each pattern, from made logs.

python -m benchmarks.spike_gallery docs/gallery
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from benchmarks.spike_logs import Made, make
from ssd.report.plots import BLUE, FAINT, VERMILION, new_figure
from ssd.spikes.explain import explain

SHOWN_PASSES = 6
# name of the picture, pattern, way, seed, finding
SHOWN = (
    ("spike", "spike", "every step", 33, "short_last_batch"),
    ("mean_of_k", "spike", "means over k", 4, "short_last_batch"),
    ("running_mean", "running mean", "every step", 37, "running_mean"),
    ("epoch_drop", "drop", "fractional epochs", 28, "epoch_drop"),
    ("fixed_order", "fixed order", "every step", 29, "fixed_order"),
    ("grouped", "grouped", "fractional epochs", 33, "grouped_batches"),
    ("restarts", "restarts", "every step", 0, "lr_schedule"),
    ("none", "none", "every step", 24, "none"),
)


def draw(path: Path, made: Made) -> None:
    """Draws the last passes of a log into a PNG; dotted lines are the starts of passes."""
    steps, loss = made.log.steps, made.log.loss
    first = max(0, made.passes - SHOWN_PASSES) * made.length
    kept = steps > first
    with new_figure(1.5) as figure:
        axes = figure.subplots()
        for start in range(first + 1, int(steps[-1]) + 2, made.length):
            axes.axvline(start, color=FAINT, linewidth=0.8, linestyle=":")
        axes.plot(steps[kept], loss[kept], color=BLUE, linewidth=0.9)
        if made.pattern == "spike":
            width = made.every if made.way == "means over k" else 1
            spikes = kept & ((made.at - made.place) % made.length < width)
            axes.plot(steps[spikes], loss[spikes], "o", color=VERMILION, markersize=3)
        axes.set(ylabel="loss", yticks=[], xticks=[])
        axes.set_xlim(first, int(steps[-1]) + 1)
        figure.patch.set(alpha=1, facecolor="white")
        figure.savefig(path, dpi=80)
    with Image.open(path) as image:
        image.convert("RGB").quantize(32).save(path, optimize=True)


def main(folder: Path) -> None:
    """Draws all pictures, each of a log whose explanation is the one that it stands for."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pattern, way, seed, cause in SHOWN:
        made = make(pattern, way, seed)
        told = explain(made.log)
        if told.cause != cause:
            raise SystemExit(f"{name}: seed {seed} is explained as {told.cause}, not as {cause}")
        draw(folder / f"{name}.png", made)
        print(f"{name}: {told.sentence}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
