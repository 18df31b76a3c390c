import math
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest

from ssd.report.plots import to_svg
from ssd.spikes import fold, plots
from ssd.spikes.plots import Series

VERMILION_BGR = (0, 94, 213)


def series_of(level=1.0, height=4.0, **more):
    """50 steps at `level`, every tenth of them marked and `height` times as high."""
    steps = np.arange(1, 51)
    spikes = steps % 10 == 0
    values = level * np.where(spikes, height, 1.0) * np.exp(0.1 * np.sin(steps))
    return Series("a $title_1$", steps, values, spikes, np.array([11.0, 21, 31, 41]), **more)


def dots(axes):
    (line,) = [line for line in axes.get_lines() if line.get_marker() == "o"]
    return line.get_xydata()


def pixels_of(path: Path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)


def test_the_spikes_are_marked_where_they_stand():
    series = series_of()
    (axes,) = plots.series_figure([series], "loss").axes
    expected = np.stack([series.steps, series.values], 1)[9::10]
    np.testing.assert_array_equal(dots(axes), expected)
    assert axes.get_yscale() == "log"


def test_equal_heights_are_equal_ratios_in_all_panels():
    figure = plots.series_figure([series_of(1 / 16), series_of(height=1), series_of(30)], "x")
    limits = np.array([axes.get_ylim() for axes in figure.axes])
    np.testing.assert_allclose(limits[:, 1] / limits[:, 0], limits[0, 1] / limits[0, 0])
    for axes, (low, high) in zip(figure.axes, limits, strict=True):
        drawn = axes.get_lines()[4].get_ydata()
        assert len(drawn) == 50
        assert low < drawn.min() < drawn.max() < high


def test_the_bound_is_a_line_inside_the_axis():
    (axes,) = plots.series_figure([series_of(bound=9.5)], "gradient norm").axes
    assert [9.5, 9.5] in [list(line.get_ydata()) for line in axes.get_lines()]
    assert axes.get_ylim()[1] > 9.5


def test_a_linear_axis_begins_at_0():
    (axes,) = plots.series_figure([series_of(logarithmic=False)], same_span=False).axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] == 0


def test_passes_lie_over_each_other():
    (axes,) = plots.pass_figure(series_of(), 10, 1).axes
    np.testing.assert_allclose(dots(axes), [[9, 4]], rtol=0.2)
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 10]
    assert len(lines) == 5 + 1
    assert all(line.get_xdata().tolist() == list(range(10)) for line in lines)


def test_many_passes_are_thinned_but_not_their_median():
    steps = np.arange(20_000)
    values = np.where(steps % 2000 == 7, 6.0, 1.0)
    series = Series("", steps, values, values > 1, np.empty(0))
    (axes,) = plots.pass_figure(series, 2000, 0).axes
    assert max(len(line.get_xdata()) for line in axes.get_lines()) <= plots.MOST_POINTS
    assert max(np.max(line.get_ydata()) for line in axes.get_lines()) == 6
    np.testing.assert_array_equal(dots(axes), [[7, 6]])


def test_what_follows_a_spike_has_a_panel_for_each_column_and_a_colour_for_each_run():
    spike = np.array([[1, 1, 4, 2, 1], [1, 1, 6, 4, 1.0]])
    runs = {"one": {"loss": spike, "momentum_norm": spike}, "other": {"loss": spike / spike}}
    figure = plots.zoom_figure(runs, 2, "steps")
    assert [axes.get_title("left") for axes in figure.axes] == ["loss", "norm of the momentum"]
    curves = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 5]
    assert [line.get_label() for line in curves] == ["one", "other"]
    assert curves[0].get_color() != curves[1].get_color()
    np.testing.assert_array_equal(curves[0].get_xydata().T, [[-2, -1, 0, 1, 2], [1, 1, 5, 3, 1]])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "other"]


def test_a_gap_of_all_spikes_is_bridged():
    around = np.array([[1, math.nan, 4, math.nan, 2]])
    (axes,) = plots.zoom_figure({"run": {"loss": around}}, 2, "steps").axes
    (curve,) = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal(curve.get_xydata().T, [[-2, 0, 2], [1, 4, 2]])


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_values_that_cannot_be_drawn_leave_gaps(value, count):
    steps = np.arange(count)
    series = Series("", steps, np.full(count, value), steps % 7 == 0, np.empty(0))
    around = {"loss": fold.over_level(np.full((2, 5), value if math.isfinite(value) else math.nan))}
    for figure in (
        plots.series_figure([series, series_of()], "loss"),
        plots.pass_figure(series, 7, 1),
        plots.zoom_figure({"run": around}, 2, "steps"),
    ):
        ET.fromstring(to_svg(figure, "figure"))


def test_losses_below_0_stay_in_sight():
    steps = np.arange(9)
    series = Series("", steps, -1.0 - steps, steps == 4, np.empty(0))
    (axes,) = plots.series_figure([series], "loss").axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] <= -9


def test_the_picture_is_white_wide_and_small(tmp_path):
    path = tmp_path / "spikes.png"
    plots.save_picture(path, series_of(), series_of(height=1), "16 / 4 = 4")
    pixels = pixels_of(path)
    assert pixels.shape == (500, 1200, 3)
    assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1]] > 250).all()
    near = (np.abs(pixels.astype(int) - VERMILION_BGR) < 12).all(-1)
    assert near[:250].sum() > 1000
    assert path.stat().st_size < 120_000


def test_the_picture_as_svg_says_its_words(tmp_path):
    path = tmp_path / "spikes.svg"
    plots.save_picture(path, series_of(), series_of(height=1), "16 / 4 = 4")
    ET.parse(path)
    assert "16 / 4 = 4" in path.read_text(encoding="utf-8")
