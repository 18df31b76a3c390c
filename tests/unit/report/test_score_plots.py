import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ssd.report.plots import SLIM, WIDE, to_svg
from ssd.report.score_plots import (
    Curve,
    calibration_figure,
    drawn_curves,
    map_figure,
    precision_recall_figure,
)
from ssd.steps import EvaluationRow


def evaluations(*scores, every=1, steps=5):
    """Evaluations after every so many epochs, which count from 0 in the file."""
    return [
        EvaluationRow(steps * every * number, every * number - 1, "voc07", score, {})
        for number, score in enumerate(scores, start=1)
    ]


def ticks(axes):
    names = [label.get_text() for label in axes.get_xticklabels()]
    return dict(zip(names, axes.get_xticks().tolist(), strict=True))


def test_map_figure_names_the_best():
    (axes,) = map_figure(evaluations(0.2, 0.45, math.nan)).axes
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), [20, 45, np.nan])
    assert [text.get_text() for text in axes.texts] == ["best 45.0 %"]


def test_the_axis_of_scores_names_the_evaluated_epochs_from_1_on():
    (axes,) = map_figure(evaluations(0.2, 0.45, 0.5, every=10)).axes
    assert ticks(axes) == {"10": 50, "20": 100, "30": 150}
    assert axes.get_xlabel() == "epoch"


@pytest.mark.parametrize(("width", "most"), [(WIDE, 13), (SLIM, 6)])
def test_many_evaluations_have_fewer_ticks_the_last_among_them(width, most):
    (axes,) = map_figure(evaluations(*np.linspace(0, 0.7, 60)), width).axes
    assert most - 1 <= len(ticks(axes)) <= most
    assert ticks(axes)["60"] == 300


def test_a_single_evaluation_stands_in_the_middle_of_the_whole_axis():
    (axes,) = map_figure(evaluations(0.125)).axes
    assert ticks(axes) == {"1": 5}
    assert axes.get_xlim() == (4, 6)
    assert axes.get_ylim() == (0, 100)
    assert [text.get_text() for text in axes.texts] == ["12.5 %"]


@pytest.mark.parametrize("scores", [[0.0, 0.0], [0.5, 0.5004], [0.2, 0.9], [1.0, 1.0], [0.97, 1]])
def test_the_axis_of_scores_holds_them_all_and_spans_some_percent(scores):
    low, high = map_figure(evaluations(*scores)).axes[0].get_ylim()
    assert 0 <= low <= 100 * min(scores)
    assert 100 * max(scores) <= high <= 102
    assert high - low >= 2.5


def test_a_run_without_epochs_names_its_steps():
    rows = [EvaluationRow(7, None, "voc07", 0.5, {}), EvaluationRow(9, None, "voc07", 0.6, {})]
    (axes,) = map_figure(rows).axes
    assert ticks(axes) == {"7": 7, "9": 9}
    assert axes.get_xlabel() == "step"


def curve(ap):
    return Curve(np.linspace(0, 1, 5), np.linspace(1, 0.5, 5), ap)


def test_precision_recall_figure_leaves_out_classes_without_ap():
    curves = {"low": curve(0.25), "none": curve(math.nan), "$high_1$": curve(0.5)}
    figure = precision_recall_figure(curves)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["$high_1$ · 50.0", "low · 25.0"]
    recall, precision = figure.axes[0].get_lines()[0].get_data()
    assert (recall[0], recall[-1], precision[0], precision[-1]) == (0, 1, 1, 0.5)
    assert "$high_1$" in to_svg(figure, "curves")


def test_many_low_scores_leave_the_confident_start_as_it_is():
    found = np.concatenate([np.tile([True, True, False], 20), np.arange(6000) % 200 == 0])
    right = found.cumsum()
    whole = Curve(right / right[-1], right / np.arange(1, len(found) + 1), 0.5)
    (axes,) = precision_recall_figure({"cat": whole}).axes
    recall, precision = axes.get_lines()[0].get_data()
    gains = np.flatnonzero(found)
    for places in (gains, gains[1:] - 1):  # the peaks, and the lows before them
        drawn = {*zip(recall.tolist(), precision.tolist(), strict=True)}
        assert {*zip(whole.recall[places], whole.precision[places], strict=True)} <= drawn
    assert len(recall) <= 300


def test_of_many_classes_the_best_and_the_worst_are_drawn():
    curves = {f"class {number}": curve(number / 100) for number in range(50)}
    best = [f"class {number}" for number in range(49, 39, -1)]
    worst = [f"class {number}" for number in range(9, -1, -1)]
    assert list(drawn_curves(curves)) == best + worst


def test_a_class_that_nothing_was_found_of_has_an_empty_panel():
    nothing = Curve(np.empty(0), np.empty(0), 0.0)
    (axes,) = precision_recall_figure({"cat": nothing}).axes
    assert axes.get_title() == "cat · 0.0"
    assert len(axes.get_lines()[0].get_xdata()) == 0


@pytest.mark.parametrize("width", [WIDE, SLIM])
def test_calibration_has_a_bar_for_each_range_with_detections(width):
    precision = np.array([0.1, np.nan, 0.75, 1.0])
    figure = calibration_figure(precision, np.array([12345, 0, 1040, 7]), width)
    (axes,) = figure.axes
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in axes.patches]
    assert bars == [(0, 0.25, 0.1), (0.5, 0.25, 0.75), (0.75, 0.25, 1)]
    assert [text.get_text() for text in axes.texts] == ["12k", "1k", "7"]
    ET.fromstring(to_svg(figure, "calibration"))
