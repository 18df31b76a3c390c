"""The picture of a data set: its classes, the shapes of its objects, and what is not matched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ssd.report import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 30
SIZE_TICKS = 1, 2, 4, 8, 16, 32, 64, 128, 256, 512
RATIO_TICKS = 0.125, 0.25, 0.5, 1, 2, 4, 8
Values = npt.NDArray[np.float32]


def write_data_figure(
    path: Path,
    classes: Mapping[str, int],
    objects: tuple[Values, Values],
    default_boxes: tuple[Values, Values],
    sizes: Mapping[str, tuple[int, int]],
) -> None:
    """Writes a PNG with three panels.

    Args:
        path: the file.
        classes: objects of each class, by name.
        objects: size (root of the area, pixels) and width over height of every object.
        default_boxes: the same of every shape of default box.
        sizes: objects, and unmatched ones among them, of each size class, by name.
    """
    with plots.new_figure(5.0) as figure:
        figure.set_size_inches(15, max(5.0, 1.5 + 0.19 * min(len(classes), MOST_CLASSES)))
        bars, shapes, unmatched = figure.subplots(1, 3, width_ratios=(1, 1.4, 0.8))
        draw_classes(bars, classes)
        draw_shapes(shapes, objects, default_boxes)
        draw_unmatched(unmatched, sizes)
        figure.savefig(path, dpi=110, facecolor="white")


def draw_classes(axes: Axes, classes: Mapping[str, int]) -> None:
    """Bars of the most frequent classes, the first on top."""
    most = sorted(classes.items(), key=lambda item: -item[1])[:MOST_CLASSES]
    names, counts = zip(*reversed(most), strict=True)
    places = np.arange(len(names))
    drawn = axes.barh(places, counts, color=plots.BLUE, height=0.7)
    axes.bar_label(drawn, [f" {count:,}" for count in counts], color=plots.INK, fontsize=9)
    axes.set_yticks(places, [name if len(name) <= 22 else f"{name[:21]}…" for name in names])
    axes.margins(x=0.15, y=0.02)
    axes.grid(False)
    rest = f", {MOST_CLASSES} of {len(classes)}" if len(classes) > MOST_CLASSES else ""
    axes.set_title(f"objects of each class{rest}")


def draw_shapes(
    axes: Axes, objects: tuple[Values, Values], default_boxes: tuple[Values, Values]
) -> None:
    """Where the objects are, by size and shape, and where the default boxes."""
    from matplotlib.ticker import FuncFormatter

    axes.set(xscale="log", yscale="log", xlabel="size in pixels", ylabel="width over height")
    if len(objects[0]):
        cells = axes.hexbin(
            *objects, xscale="log", yscale="log", gridsize=36, mincnt=1, bins="log", cmap="Blues"
        )
        whole_numbers = FuncFormatter(plain)
        bar = axes.figure.colorbar(cells, ax=axes, label="objects", format=whole_numbers, pad=0.02)
        bar.ax.minorticks_off()
    axes.scatter(*default_boxes, marker="x", s=42, color=plots.VERMILION, label="default box")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
    axes.minorticks_off()
    axes.set_xticks(SIZE_TICKS, list(map(plain, SIZE_TICKS)))
    axes.set_yticks(RATIO_TICKS, list(map(plain, RATIO_TICKS)))
    values = [np.concatenate(pair) for pair in zip(objects, default_boxes, strict=True)]
    sizes, ratios = ((low / 1.15, high * 1.15) for low, high in map(limits, values))
    axes.set(xlim=sizes, ylim=ratios)
    axes.set_title("shapes at the model's input", loc="right")


def limits(values: Values) -> tuple[float, float]:
    """The smallest and the largest."""
    return float(values.min()), float(values.max())


def plain(value: float, _place: int | None = None) -> str:
    """A number for an axis, without powers of ten."""
    return f"{value:g}"


def draw_unmatched(axes: Axes, sizes: Mapping[str, tuple[int, int]]) -> None:
    """The share of each size class that no default box overlaps enough."""
    shares = [100 * missed / max(1, count) for count, missed in sizes.values()]
    places = np.arange(len(sizes))
    drawn = axes.bar(places, shares, color=plots.VERMILION, width=0.6)
    labels = [f"{missed:,}\nof {count:,}" for count, missed in sizes.values()]
    axes.bar_label(drawn, labels, color=plots.INK, fontsize=9, padding=2)
    axes.set_xticks(places, [name.replace(" px", "\npx") for name in sizes])
    axes.set(ylim=(0, max(10.0, 1.2 * max(shares))), ylabel="%")
    axes.set_title("unmatched objects by size")
