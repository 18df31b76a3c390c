"""The curves of a run's steps as matplotlib figures, and the style of all figures.

Figures for narrow screens have the width `SLIM` instead of `WIDE`, with letters of the same size.
A value that is missing or NaN leaves a gap. The colours are those of Okabe and Ito (2008), which
colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ssd.run.rows import column
from ssd.steps import StepRow

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
WIDE, SLIM = 9.0, 4.4  # inches
MOST_EPOCH_LINES = 30
EPOCHS_PER_INCH = 1.7  # numbers of epochs above a chart
MOST_POINTS = 300


def loss_figure(rows: Sequence[StepRow], width: float = WIDE) -> Figure:
    """The loss of every step and its moving average, with class and box loss per positive."""
    steps, positives = column(rows, "step"), column(rows, "num_positives")
    with new_figure(4.3, width) as figure:
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
        _number_epochs(axes, rows, width)
        axes.set(xlabel="step", ylabel="loss")
        names = 4 if width == WIDE else 2
        figure.legend(loc="outside lower center", ncols=names, handlelength=1.5)
    return figure


def learning_figure(rows: Sequence[StepRow], width: float = WIDE) -> Figure:
    """Learning rate, gradient norm and positives of every step, one above the other."""
    steps, grad_norm = column(rows, "step"), column(rows, "grad_norm")
    positives = column(rows, "num_positives")
    with new_figure(5.4, width) as figure:
        rate_axes, norm_axes, positives_axes = panels = figure.subplots(3, sharex=True)
        for axes in panels:
            mark_epochs(axes, epoch_starts(rows))
        rate_axes.plot(steps, column(rows, "lr"), color=BLUE)
        for axes, values in ((norm_axes, grad_norm), (positives_axes, positives)):
            axes.plot(steps, values, color=BLUE, **RAW)
            axes.plot(steps, smooth(values), color=BLUE)
        log_scale(norm_axes)
        _number_epochs(rate_axes, rows, width)
        rate_axes.set(ylabel="learning rate", ylim=(0, None))
        norm_axes.set(ylabel="gradient norm")
        positives_axes.set(ylabel="positives", ylim=(0, None), xlabel="step")
        figure.align_ylabels()
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


def _number_epochs(axes: Axes, rows: Sequence[StepRow], width: float) -> None:
    """Writes the number of every epoch, from 1 on, above its first step, or of every n-th."""
    epochs = column(rows, "epoch")
    begins = np.flatnonzero(np.diff(epochs, prepend=-np.inf) > 0)
    begins = begins[:: len(begins) // int(EPOCHS_PER_INCH * width) + 1]
    above = axes.secondary_xaxis("top")
    names = [f"{epoch + 1:.0f}" for epoch in epochs[begins]]
    names[:1] = [f"epoch {name}" for name in names[:1]]
    above.set_xticks(column(rows, "step")[begins], names, fontsize=8)
    above.tick_params(length=0, pad=1)
    above.spines["top"].set_visible(False)


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
def new_figure(height: float, width: float = WIDE) -> Iterator[Figure]:
    """A figure in the report's style: inches, quiet axes, a transparent background."""
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
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        yield figure
