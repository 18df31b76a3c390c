import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd.report import plots
from ssd.report.score_plots import map_figure
from ssd.run.rows import parse_row


@pytest.fixture(scope="module")
def rows(step_row):
    return [
        step_row(
            step=step,
            epoch=(step - 1) // 10,
            loss=10 / step,
            class_loss_sum=700 / step,
            box_loss_sum=300 / step,
            num_positives=100,
            lr=0.001,
            grad_norm=5.0,
        )
        for step in range(1, 31)
    ]


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def test_loss_figure_shows_every_step_and_the_losses_per_positive(rows):
    (axes,) = plots.loss_figure(rows).axes
    drawn = lines(axes)
    steps, losses = drawn["loss of each step"].T
    assert steps.tolist() == list(range(1, 31))
    assert losses.tolist() == [10 / step for step in range(1, 31)]
    np.testing.assert_allclose(
        drawn["class loss per positive"][:, 1] / drawn["loss, moving average"][:, 1], 0.7
    )
    np.testing.assert_allclose(
        drawn["box loss per positive"][:, 1] / drawn["loss, moving average"][:, 1], 0.3
    )


def test_epochs_are_marked_where_they_begin(rows):
    (axes,) = plots.loss_figure(rows).axes
    marks = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() != "-"]
    assert marks == [11, 21]


@pytest.mark.parametrize(("width", "most"), [(plots.WIDE, 15), (plots.SLIM, 7)])
def test_epochs_are_numbered_from_1_where_they_begin(rows, width, most):
    (axes,) = plots.loss_figure(rows, width).axes
    (above,) = axes.child_axes
    assert above.get_xticks().tolist() == [1, 11, 21]
    assert [label.get_text() for label in above.get_xticklabels()] == ["epoch 1", "2", "3"]
    many = [replace(rows[0], step=step, epoch=step // 2) for step in range(1, 301)]
    (above,) = plots.loss_figure(many, width).axes[0].child_axes
    assert most / 2 < len(above.get_xticks()) <= most
    assert above.get_xticklabels()[1].get_text() == str(int(above.get_xticks()[1]) // 2 + 1)


def test_many_epochs_are_thinned_out(rows):
    many = [replace(rows[0], step=step, epoch=step) for step in range(1000)]
    (axes,) = plots.loss_figure(many).axes
    assert 10 < sum(line.get_linestyle() != "-" for line in axes.get_lines()) <= 30


def test_learning_figure_has_a_panel_for_each(rows):
    figure = plots.learning_figure(rows)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "learning rate",
        "gradient norm",
        "positives",
    ]
    for axes, value in zip(figure.axes, (0.001, 5.0, 100.0), strict=True):
        drawn = [line.get_ydata() for line in axes.get_lines() if len(line.get_xdata()) == 30]
        assert all(np.allclose(values, value) for values in drawn)


UNDRAWABLE = [math.nan, math.inf, None, "text"]


@pytest.mark.parametrize("make", [plots.loss_figure, plots.learning_figure, map_figure])
@pytest.mark.parametrize(
    "values", [[*(10 / (1 + n) for n in range(30)), *UNDRAWABLE], [math.nan], [0.0]]
)
def test_values_that_cannot_be_drawn_leave_gaps(make, values):
    kind = "eval" if make is map_figure else "train"
    names = "loss", "class_loss_sum", "grad_norm", "lr", "mAP"
    lines = [
        {"kind": kind, "step": step}
        | ({"epoch": step // 10, "num_positives": 100} if step < 30 else {})
        | dict.fromkeys(names, value)
        for step, value in enumerate(values)
    ]
    rows = [parse_row(json.dumps(line).encode()) for line in lines]
    ET.fromstring(plots.to_svg(make(rows), "figure"))


def test_svg_takes_its_colours_from_css(rows):
    svg = plots.to_svg(plots.loss_figure(rows), "loss")
    assert svg.startswith("<svg")
    assert "var(--blue)" in svg
    assert plots.BLUE not in svg
    assert "moving average</text>" in svg


def test_svg_is_the_same_every_time(rows):
    first, second = (plots.to_svg(plots.loss_figure(rows), "loss") for _ in range(2))
    assert first == second


numbers = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf])


@given(st.lists(numbers, min_size=1, max_size=200))
def test_smooth_equals_a_loop(values):
    half = len(values) // 40
    offsets = range(-half, half + 1)
    weights = [0.5 + 0.5 * math.cos(math.pi * offset / (half + 1)) for offset in offsets]
    expected = []
    for centre in range(len(values)):
        near = [
            (weight, values[centre + offset])
            for weight, offset in zip(weights, offsets, strict=True)
            if 0 <= centre + offset < len(values) and math.isfinite(values[centre + offset])
        ]
        total = sum(weight for weight, _ in near)
        expected.append(sum(w * v for w, v in near) / total if near else math.nan)
    np.testing.assert_allclose(plots.smooth(np.array(values)), expected, rtol=1e-9, atol=1e-6)
