"""One picture of a data set: its classes, the shapes of its boxes, and the fit of default boxes.

Letters: `N` objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssd.report import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 30
LEAST_ROWS = 8  # so that few classes do not make fat bars
CELLS = 40


def data_figure(
    objects: Mapping[str, int],
    sizes_N: plots.Floats,
    aspect_ratios_N: plots.Floats,
    default_shapes: Sequence[tuple[float, float]],
    unmatched: Mapping[str, tuple[int, int]],
) -> Figure:
    """Bars of the frequent classes, box sizes against aspect ratios, bars of unmatched objects.

    Args:
        objects: training objects of each class.
        sizes_N: square roots of their boxes' areas, in pixels of the model's input.
        aspect_ratios_N: the boxes' width / height at the input.
        default_shapes: (width, height) of the default boxes, in the same pixels.
        unmatched: by size, the objects that no default box overlaps enough, and all objects.
    """
    shown = sorted(objects.items(), key=lambda item: -item[1])[:MOST_CLASSES]
    rows = max(LEAST_ROWS, len(shown))
    with plots.new_figure(3.8 + 0.1 * rows) as figure:
        axes = figure.subplot_mosaic(
            [["classes", "shapes"], ["classes", "sizes"]],
            width_ratios=[2, 3],
            height_ratios=[3, 1],
        )
        _draw_classes(axes["classes"], shown, len(objects), rows)
        _draw_shapes(axes["shapes"], sizes_N, aspect_ratios_N, default_shapes)
        _draw_unmatched(axes["sizes"], unmatched)
    return figure


def _draw_classes(
    axes: Axes, shown: Sequence[tuple[str, int]], num_classes: int, rows: int
) -> None:
    names = [plots.shorten(name) for name, _ in shown]
    bars = axes.barh(range(len(shown)), [n for _, n in shown], height=0.7, color=plots.BLUE)
    axes.bar_label(bars, [f"{n:,}" for _, n in shown], padding=3, color=plots.INK, fontsize=8)
    axes.set_yticks(range(len(shown)), names)
    axes.set(ylim=(rows - 0.4, -0.6))
    axes.margins(x=0.18)
    _leave_bars_alone(axes)
    most = f" (the {len(shown)} most frequent of {num_classes})"
    axes.set_title("training objects" + (most if len(shown) < num_classes else ""), loc="left")


def _draw_shapes(
    axes: Axes,
    sizes_N: plots.Floats,
    aspect_ratios_N: plots.Floats,
    default_shapes: Sequence[tuple[float, float]],
) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    width, height = np.array(default_shapes).T
    if len(sizes_N):
        colors = LinearSegmentedColormap.from_list("objects", ["#d3e4f0", plots.BLUE, "#00263d"])
        axes.hexbin(
            sizes_N,
            aspect_ratios_N,
            gridsize=CELLS,
            bins="log",
            xscale="log",
            yscale="log",
            mincnt=1,
            cmap=colors,
            linewidths=0.1,
        )
    axes.set(xscale="log", yscale="log")
    axes.scatter(
        np.sqrt(width * height),
        width / height,
        s=26,
        marker="D",
        facecolors="none",
        edgecolors=plots.VERMILION,
        linewidths=1.4,
        label="default boxes",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="size (√area) in pixels of the input", ylabel="width / height")
    axes.set_title("boxes, darker where there are more", loc="left")
    axes.legend(loc="lower right", bbox_to_anchor=(1.02, 0.98), handletextpad=0)
    axes.grid(visible=True, axis="both")


def _draw_unmatched(axes: Axes, unmatched: Mapping[str, tuple[int, int]]) -> None:
    shares = [100 * few / max(1, many) for few, many in unmatched.values()]
    axes.barh(list(unmatched), shares, height=0.6, color=plots.VERMILION)
    told = [
        f"{share:.1f} % of {many:,}"
        for share, (_, many) in zip(shares, unmatched.values(), strict=True)
    ]
    whole = axes.barh(list(unmatched), 100, height=0.6, color=plots.FAINT, alpha=0.25, zorder=0)
    axes.bar_label(whole, told, padding=6, color=plots.INK, fontsize=9)
    axes.set(xlim=(0, 140))
    axes.invert_yaxis()
    _leave_bars_alone(axes)
    axes.set_title("objects that no default box fits, by size", loc="left")


def _leave_bars_alone(axes: Axes) -> None:
    """Hides the scale of an axis, since its bars carry their numbers."""
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.grid(visible=False)
