"""Figures of regular spikes: curves over the steps, and overlaid passes and spikes.

A spike is always a vermilion dot. Letters: `N` rows of a log, `K` spikes or passes, `W` steps of a
stretch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssd.report import plots
from ssd.spikes import fold
from ssd.spikes.log import Bools, Floats, Ints

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 1500
MOST_MARKS = 250
MOST_PASSES = 60
DRAWN_PASSES = 20
STYLES = (
    (plots.VERMILION, "-"),
    (plots.GREEN, "-"),
    (plots.PURPLE, (0, (3, 1.5))),
    (plots.AMBER, (0, (3, 1.5))),
    (plots.INK, (0, (1, 1))),
    (plots.BLUE, "-"),
)
DOTS: dict[str, Any] = {
    "color": plots.VERMILION,
    "linestyle": "none",
    "marker": "o",
    "markersize": 4,
}
LABELS = {
    "loss": "loss",
    "grad_norm": "gradient norm, before clipping",
    "momentum_norm": "norm of the momentum",
    "lr": "learning rate",
    "num_images": "images",
    "num_positives": "positives",
}


@dataclass(frozen=True)
class Series:
    """One column of a run's log over its steps.

    Attributes:
        title: the heading of its panel.
        steps: [N], rising.
        values: [N], not finite where there is none.
        spikes: [N], true for the rows to mark.
        starts: the first steps of the epochs.
        bound: a value to draw a line at, such as that of clipping.
        logarithmic: whether its axis is logarithmic; otherwise it is linear from 0 on.
    """

    title: str
    steps: Ints
    values: Floats
    spikes: Bools
    starts: Floats
    bound: float | None = None
    logarithmic: bool = True


def series_figure(series: Sequence[Series], label: str = "", same_span: bool = True) -> Figure:
    """One panel for each series, one above the other, on a common axis of steps.

    With `same_span` all logarithmic axes span the same factor, so that a threefold spike is
    equally high in every panel, whatever the level of the curve.
    """
    with plots.new_figure(max(3.2, 0.55 + 1.45 * len(series))) as figure:
        panels = figure.subplots(len(series), sharex=True, squeeze=False)[:, 0].tolist()
        for axes, one in zip(panels, series, strict=True):
            _draw_series(axes, one)
            axes.set_title(one.title, loc="left")
        if same_span:
            _share_span(panels, series)
        panels[-1].set_xlabel("step")
        figure.supylabel(label)
    return figure


def pass_figure(series: Series, period: int, origin: int) -> Figure:
    """The last passes overlaid, each divided by its median, with their median and quartiles.

    Args:
        series: the loss.
        period: steps of a pass.
        origin: a step at which a pass begins.
    """
    from matplotlib.ticker import MaxNLocator

    places_W, values_KW = fold.passes(series.steps, series.values, period, origin, MOST_PASSES)
    values_KW = fold.over_level(values_KW)
    middle_W = fold.quantile(values_KW, 0.5)
    marked_W = np.isin(places_W, (series.steps[series.spikes] - origin) % period)
    with plots.new_figure(3.6) as figure:
        axes = figure.subplots()
        for values_W in values_KW[:: len(values_KW) // DRAWN_PASSES + 1]:
            kept = fold.thin(values_W, MOST_POINTS // 3)
            axes.plot(places_W[kept], values_W[kept], color=plots.BLUE, alpha=0.22, linewidth=0.7)
        _draw_band(axes, places_W, values_KW, plots.BLUE, "-")
        axes.plot(places_W[marked_W], middle_W[marked_W], **DOTS)
        _log_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="step of the pass, from 0", ylabel="loss / median of its pass")
    return figure


def zoom_figure(runs: Mapping[str, Mapping[str, Floats]], before: int, label: str) -> Figure:
    """The steps around a spike: one panel for each column, with the runs overlaid.

    Args:
        runs: by name, by column of metrics.jsonl: the values [K, W] around each spike, relative
            to the level before it (`fold.windows`, `fold.over_level`).
        before: steps of a stretch before the spike.
        label: the label of the axis of steps.
    """
    columns = list(dict.fromkeys(column for run in runs.values() for column in run))
    with plots.new_figure(3.4) as figure:
        panels = figure.subplots(1, len(columns), sharex=True, squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=True):
            axes.axvline(0, color=plots.FAINT, linewidth=0.8, zorder=0)
            for (name, run), (color, style) in zip(runs.items(), _styles(len(runs)), strict=True):
                if column in run:
                    offsets = np.arange(run[column].shape[1]) - before
                    _draw_band(axes, offsets, run[column], color, style, name)
            _log_scale(axes)
            axes.set_title(LABELS[column], loc="left")
        panels[0].set_ylabel("relative to the steps before")
        figure.supxlabel(label)
        if len(runs) > 1:
            handles, names = panels[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    return figure


def save_picture(path: Path, spiking: Series, healthy: Series, sums: str) -> None:
    """Saves the picture of the experiment: a run that spikes above one that does not, on white.

    Args:
        path: an .svg, .png or .jpg file.
        spiking: the loss of the run that spikes.
        healthy: the loss of the run that does not.
        sums: the arithmetic of a spike in a few words, written beside one.
    """
    with plots.new_figure(3.75) as figure:
        figure.patch.set(alpha=1, facecolor="white")
        panels = figure.subplots(2, sharex=True).tolist()
        pairs = ((spiking, plots.VERMILION), (healthy, plots.BLUE))
        for axes, (one, color) in zip(panels, pairs, strict=True):
            _draw_series(axes, one, width=1.1)
            axes.set_title(one.title, loc="left", color=color, fontsize=12, fontweight="bold")
            axes.set_ylabel("loss")
        _share_span(panels, (spiking, healthy), headroom=1.8)
        _point_at_spike(panels[0], spiking, sums)
        panels[1].set_xlabel("optimizer step  (dotted lines: epochs; dots: their short last steps)")
        figure.savefig(path, dpi=1200 / 9)
    if path.suffix == ".png":
        _reduce_colours(path)


def _reduce_colours(path: Path) -> None:
    """Rewrites a PNG with 128 colours, which looks the same and takes a third of the bytes."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)


def _draw_series(axes: Axes, series: Series, width: float = 0.9) -> None:
    plots.mark_epochs(axes, series.starts)
    values = series.values
    if series.logarithmic and (values > 0).any():  # a step without objects has the loss 0
        values = np.where(values > 0, values, np.nan)
    kept = fold.thin(values, MOST_POINTS)
    axes.plot(series.steps[kept], values[kept], color=plots.BLUE, linewidth=width)
    if series.bound is not None:
        axes.axhline(series.bound, color=plots.INK, linewidth=1, linestyle="--")
    (marks,) = np.nonzero(series.spikes)
    marks = marks[:: len(marks) // MOST_MARKS + 1]
    around = (marks[:, None] + (-1, 0, 1, 1)).clip(0, len(values) - 1)
    stems = values[around]
    stems[:, 3] = np.nan  # a gap before the next
    color, linewidth = plots.VERMILION, 1.5 * width
    axes.plot(series.steps[around].ravel(), stems.ravel(), color=color, linewidth=linewidth)
    axes.plot(series.steps[marks], values[marks], **DOTS)
    if series.logarithmic:
        _log_scale(axes)
    else:
        axes.set_ylim(0, None)


def _draw_band(
    axes: Axes, places_W: Ints, values_KW: Floats, color: str, style: Any, name: str = ""
) -> None:
    """Draws the median of the stretches as a line and their quartiles as a band."""
    low_W, middle_W, high_W = (fold.quantile(values_KW, part) for part in (0.25, 0.5, 0.75))
    kept = fold.thin(middle_W, MOST_POINTS)
    kept = kept[np.isfinite(middle_W[kept])]
    axes.fill_between(
        places_W[kept], low_W[kept], high_W[kept], color=color, alpha=0.15, linewidth=0
    )
    axes.plot(places_W[kept], middle_W[kept], color=color, linestyle=style, label=name)


def _share_span(panels: Sequence[Axes], series: Sequence[Series], headroom: float = 1.25) -> None:
    """Makes logarithmic axes span the factor of the widest, each from its own lowest value on."""
    ranges = [_range(one) for one in series]
    span = max(high / low for low, high in ranges)
    for axes, (low, _) in zip(panels, ranges, strict=True):
        if axes.get_yscale() == "log":
            axes.set_ylim(low / 1.12, low * span * headroom)


def _range(series: Series) -> tuple[float, float]:
    """The lowest and the highest positive value, its bound included."""
    values = np.append(series.values, np.nan if series.bound is None else series.bound)
    drawn = values[np.isfinite(values) & (values > 0)]
    return (float(drawn.min()), float(drawn.max())) if len(drawn) else (1.0, 1.0)


def _log_scale(axes: Axes) -> None:
    """Makes the axis logarithmic; the more decades it spans, the fewer labels each of them has."""
    low, high = axes.dataLim.minposy, axes.dataLim.y1
    few: dict[float, Sequence[float]] = {4: (1, 1.5, 2, 3, 5, 7), 15: (1, 2, 5), 150: (1, 3)}
    plots.log_scale(axes, next((few[span] for span in few if high < span * low), (1,)))


def _styles(count: int) -> list[tuple[str, Any]]:
    """A colour and a line style for each run; a single one is blue."""
    return [STYLES[index % len(STYLES)] for index in range(count)] if count > 1 else [STYLES[-1]]


def _point_at_spike(axes: Axes, series: Series, text: str) -> None:
    """Writes the text above one of the last spikes, with a line down to it."""
    (marks,) = np.nonzero(series.spikes & np.isfinite(series.values))
    for row in marks[-2:-1]:
        axes.annotate(
            text,
            (series.steps[row], series.values[row]),
            xytext=(series.steps[row], 0.9),
            textcoords=axes.get_xaxis_transform(),
            ha="right",
            va="center",
            fontsize=12,
            color=plots.VERMILION,
            arrowprops={
                "arrowstyle": "-",
                "color": plots.VERMILION,
                "relpos": (1, 0.5),
                "shrinkA": 0,
                "shrinkB": 4,
            },
        )
