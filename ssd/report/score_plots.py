"""The scores of a run as matplotlib figures: over the training, over recall, and by confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ssd.evaluation.mistakes import Ints
from ssd.report.plots import (
    BLUE,
    FAINT,
    INK,
    MOST_POINTS,
    WIDE,
    Floats,
    new_figure,
    shorten,
)
from ssd.run.rows import column
from ssd.steps import EvaluationRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS_PER_INCH = 1.5
LEAST_SPAN = 5.0  # of the axis of scores, in %
MOST_CURVES = 20


@dataclass(frozen=True)
class Curve:
    """Precision and recall [D] of one class after each detection, best first, and its AP."""

    recall: Floats
    precision: Floats
    average_precision: float


def map_figure(rows: Sequence[EvaluationRow], width: float = WIDE) -> Figure:
    """The mAP of every evaluation at its step; the axis names the epochs, which count from 1."""
    steps, epochs = column(rows, "step"), column(rows, "epoch")
    values = column(rows, "mAP") * 100
    values[(values < 0) | (values > 100)] = np.nan
    with new_figure(3.2, width) as figure:
        axes = figure.subplots()
        axes.plot(steps, values, color=BLUE, marker="o", markersize=4.5)
        known = bool(np.isfinite(epochs).all())
        count = min(len(rows), int(TICKS_PER_INCH * width))
        shown = np.unique(np.linspace(len(rows) - 1, 0, count).round().astype(np.int64))
        names = [f"{epochs[row] + 1:.0f}" if known else f"{steps[row]:.0f}" for row in shown]
        axes.set_xticks(steps[shown], names)
        if len(rows) == 1:
            axes.set_xlim(steps[0] - 1, steps[0] + 1)
        else:
            axes.margins(x=0.05)
        axes.set(xlabel="epoch" if known else "step", ylabel="mAP in %", ylim=_span(values))
        if np.isfinite(values).any():
            _name_best(axes, steps, values)
    return figure


def _span(values: Floats) -> tuple[float, float]:
    """The limits of the axis of scores in %: around them, or all of it for a single one."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return 0, 100
    low, high = float(finite.min()), float(finite.max())
    margin = max(0.2 * (high - low), (LEAST_SPAN - (high - low)) / 2)
    return max(0.0, low - margin), min(100.0, high + margin) if high < 100 else 102


def _name_best(axes: Axes, steps: Floats, values: Floats) -> None:
    """Writes the best score beside its point, towards the middle of the chart."""
    best = int(np.nanargmax(values))
    place = (steps[best] - steps[0]) / max(1.0, steps[-1] - steps[0]) if len(steps) > 1 else 0.5
    axes.annotate(
        f"{'best ' if len(steps) > 1 else ''}{values[best]:.1f} %",
        (steps[best], values[best]),
        xytext=(0, 8),
        textcoords="offset points",
        ha="left" if place < 0.15 else "right" if place > 0.85 else "center",
        color=BLUE,
        annotation_clip=False,
    )


def drawn_curves(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """The curves to draw, of the classes that have an AP, the best first.

    Of more than `MOST_CURVES`, these are as many of the best as of the worst.
    """
    drawn = [item for item in curves.items() if not math.isnan(item[1].average_precision)]
    drawn.sort(key=lambda item: -item[1].average_precision)
    half = MOST_CURVES // 2
    return dict(drawn if len(drawn) <= MOST_CURVES else [*drawn[:half], *drawn[-half:]])


def precision_recall_figure(curves: Mapping[str, Curve], width: float = WIDE) -> Figure:
    """One small panel for each of `drawn_curves`."""
    drawn = drawn_curves(curves)
    columns = min(5 if width == WIDE else 3, max(1, len(drawn)))
    lines = max(1, math.ceil(len(drawn) / columns))
    with new_figure(0.6 + 1.75 * lines, width) as figure:
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, (name, curve) in zip(grid.flat, drawn.items(), strict=False):
            points = points_of(curve)
            recall, precision = curve.recall[points], curve.precision[points]
            axes.fill_between(recall, precision, color=BLUE, alpha=0.15, linewidth=0)
            axes.plot(recall, precision, color=BLUE, linewidth=1.2)
            longest = 18 if width == WIDE else 9
            axes.set_title(f"{shorten(name, longest)} · {100 * curve.average_precision:.1f}")
            axes.set(xlim=(0, 1), ylim=(0, 1.04))
            axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
            axes.set_yticks((0, 0.5, 1), ("0", "0.5", "1"))
        for axes in grid.flat[len(drawn) :]:
            axes.set_axis_off()
        figure.supxlabel("recall")
        figure.supylabel("precision")
    return figure


def points_of(curve: Curve) -> Ints:
    """The places of a curve to draw: where it gains recall, and before, spread evenly over it.

    Spread over the detections instead, thousands of low scores would leave none for the best.
    """
    count = len(curve.recall)
    if count <= MOST_POINTS:
        return np.arange(count)
    levels = np.unique(curve.recall)
    few = levels[np.linspace(0, len(levels) - 1, MOST_POINTS // 2).astype(np.int64)]
    gains = np.searchsorted(curve.recall, few)
    return np.unique([0, *gains, *np.maximum(gains - 1, 0), count - 1])


def calibration_figure(precision_S: Floats, count_S: Ints, width: float = WIDE) -> Figure:
    """The precision [S] of the detections of S equal ranges of score, with their number [S]."""
    edges = np.linspace(0, 1, len(count_S) + 1)
    with new_figure(3.4, width) as figure:
        axes = figure.subplots()
        axes.plot((0, 1), (0, 1), color=INK, linewidth=1, linestyle=(0, (4, 3)))
        rows = np.flatnonzero(count_S)
        bars = axes.bar(
            edges[rows], precision_S[rows], 1 / len(count_S), align="edge", color=BLUE, alpha=0.75
        )
        for bar in bars:
            bar.set(edgecolor=FAINT, linewidth=0.5)
        for row in rows:
            place = (edges[row] + edges[row + 1]) / 2, 1.05
            axes.text(*place, _brief(int(count_S[row])), ha="center", va="bottom", fontsize=8)
        axes.set(xlabel="score", ylabel="precision", xlim=(0, 1), ylim=(0, 1.12))
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_yticks(np.linspace(0, 1, 6))
    return figure


def _brief(count: int) -> str:
    """Writes 950 as "950", 1234 as "1.2k" and 12345 as "12k"."""
    if count < 1000:
        return str(count)
    thousands = f"{count / 1000:.{1 if count < 9950 else 0}f}"
    return f"{thousands.removesuffix('.0')}k"
