"""The curves of a run as matplotlib figures.

A value that is missing or NaN leaves a gap. The colours are those of Okabe and Ito (2008), which
colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ssd.run.rows import column
from ssd.steps import EvaluationRow, StepRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, AMBER = "#cc79a7", "#e69f00"
INK, FAINT = "#59626f", "#b4bac4"
CSS_VARIABLES = {
    BLUE: "blue",
    VERMILION: "vermilion",
    GREEN: "green",
    PURPLE: "purple",
    AMBER: "amber",
    INK: "ink",
    FAINT: "faint",
}
RAW: dict[str, Any] = {"alpha": 0.35, "linewidth": 0.8}
MOST_EPOCH_LINES = 30
MOST_POINTS = 300


@dataclass(frozen=True)
class Curve:
    """Precision and recall [D] of one class after each detection, best first, and its AP."""

    recall: Floats
    precision: Floats
    average_precision: float


def loss_figure(rows: Sequence[StepRow]) -> Figure:
    """The loss of every step and its moving average, with class and box loss per positive."""
    steps, positives = column(rows, "step"), column(rows, "num_positives")
    with new_figure(4.0) as figure:
        axes = figure.subplots()
        mark_epochs(axes, epoch_starts(rows))
        loss = column(rows, "loss")
        axes.plot(steps, loss, color=BLUE, **RAW, label="loss of each step")
        axes.plot(steps, smooth(loss), color=BLUE, label="loss, moving average")
        for key, name, color in (
            ("class_loss_sum", "class loss per positive", VERMILION),
            ("box_loss_sum", "box loss per positive", GREEN),
        ):
            part = smooth(column(rows, key) / np.maximum(positives, 1))
            axes.plot(steps, part, color=color, linewidth=1.2, label=name)
        log_scale(axes)
        axes.set(xlabel="step", ylabel="loss")
        axes.legend(loc="upper right", ncols=2)
    return figure


def learning_figure(rows: Sequence[StepRow]) -> Figure:
    """Learning rate, gradient norm and positives of every step, one above the other."""
    steps, grad_norm = column(rows, "step"), column(rows, "grad_norm")
    positives = column(rows, "num_positives")
    with new_figure(5.4) as figure:
        rate_axes, norm_axes, positives_axes = panels = figure.subplots(3, sharex=True)
        for axes in panels:
            mark_epochs(axes, epoch_starts(rows))
        rate_axes.plot(steps, column(rows, "lr"), color=BLUE)
        for axes, values in ((norm_axes, grad_norm), (positives_axes, positives)):
            axes.plot(steps, values, color=BLUE, **RAW)
            axes.plot(steps, smooth(values), color=BLUE)
        log_scale(norm_axes)
        rate_axes.set(ylabel="learning rate", ylim=(0, None))
        norm_axes.set(ylabel="gradient norm")
        positives_axes.set(ylabel="positives", ylim=(0, None), xlabel="step")
        figure.align_ylabels()
    return figure


def map_figure(rows: Sequence[EvaluationRow]) -> Figure:
    """The mAP of every evaluation against the epoch."""
    from matplotlib.ticker import MaxNLocator

    epochs, values = column(rows, "epoch") + 1, column(rows, "mAP") * 100
    with new_figure(3.2) as figure:
        axes = figure.subplots()
        axes.plot(epochs, values, color=BLUE, marker="o", markersize=4)
        if np.isfinite(values).any():
            best = int(np.nanargmax(values))
            axes.annotate(
                f"best {values[best]:.1f} %",
                (epochs[best], values[best]),
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
                color=BLUE,
            )
        axes.margins(x=0.06, y=0.2)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="mAP in %")
    return figure


def precision_recall_figure(curves: Mapping[str, Curve]) -> Figure:
    """One small panel for each class that has an AP, the best class first."""
    drawn = [item for item in curves.items() if not math.isnan(item[1].average_precision)]
    drawn.sort(key=lambda item: -item[1].average_precision)
    columns = min(5, max(1, len(drawn)))
    lines = max(1, math.ceil(len(drawn) / columns))
    with new_figure(0.6 + 1.75 * lines) as figure:
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, (name, curve) in zip(grid.flat, drawn, strict=False):
            count = len(curve.recall)
            points = np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(np.int64)
            recall, precision = curve.recall[points], curve.precision[points]
            axes.fill_between(recall, precision, color=BLUE, alpha=0.15, linewidth=0)
            axes.plot(recall, precision, color=BLUE, linewidth=1.2)
            axes.set_title(f"{shorten(name)} · {100 * curve.average_precision:.1f}")
            axes.set(xlim=(0, 1), ylim=(0, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        for axes in grid.flat[len(drawn) :]:
            axes.set_axis_off()
        figure.supxlabel("recall")
        figure.supylabel("precision")
    return figure


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element whose colours are CSS variables (--ink, --blue, …).

    `name` keeps the ids of several figures on one page distinct. Text stays text.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=unsaid)
    text = file.getvalue()
    element = text[text.index("<svg") :]
    for color, variable in CSS_VARIABLES.items():
        element = element.replace(f": {color}", f": var(--{variable})")
    return element


def smooth(values: Floats) -> Floats:
    """Centred moving average [N], weighted by a Hann window of a twentieth of the values.

    Values that are not finite are left out.
    """
    half = min(len(values) // 40, MOST_POINTS)
    window = np.hanning(2 * half + 3)[1:-1]
    finite = np.isfinite(values)
    padded = np.pad(np.stack([np.where(finite, values, 0.0), finite]), ((0, 0), (half, half)))
    total, weight = (np.convolve(row, window, "valid") for row in padded)
    return np.where(weight > 1e-9, total / np.maximum(weight, 1e-9), np.nan)


def epoch_starts(rows: Sequence[StepRow]) -> Floats:
    """The first step of every epoch but the first."""
    return column(rows, "step")[1:][np.diff(column(rows, "epoch")) > 0]


def mark_epochs(axes: Axes, starts: Floats) -> None:
    """Draws a faint line at the first step of every epoch, or of every n-th if there are many."""
    for step in starts[:: len(starts) // MOST_EPOCH_LINES + 1]:
        axes.axvline(step, color=FAINT, linewidth=0.6, linestyle=(0, (1, 4)), zorder=0)


def log_scale(axes: Axes, ticks: Sequence[float] = (1, 2, 5)) -> None:
    """Makes the y axis logarithmic, unless there is nothing positive to show on it.

    `ticks` are labelled in every decade.
    """
    from matplotlib import ticker

    if not math.isfinite(axes.dataLim.minposy):
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=ticks))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def shorten(name: str, longest: int = 18) -> str:
    """The name, cut if it is long."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


@contextmanager
def new_figure(height: float) -> Iterator[Figure]:
    """A figure in the report's style: 9 inches wide, quiet axes, a transparent background."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    look: dict[Any, Any] = {
        "font.size": 10,
        "text.parse_math": False,
        "axes.titlesize": 10,
        "axes.xmargin": 0.015,
        "axes.facecolor": "none",
        "figure.labelsize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": FAINT,
        "grid.alpha": 0.35,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
        ),
    }
    with rc_context(look):
        figure = Figure(figsize=(9, height), layout="constrained")
        figure.patch.set_alpha(0)
        yield figure
