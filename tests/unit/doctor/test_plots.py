import io

import numpy as np
import pytest

from ssd.doctor.plots import data_figure

SHAPES = [(30.0, 30.0), (60.0, 30.0), (30.0, 60.0)]


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]


@pytest.mark.parametrize("classes", [0, 1, 3, 80])
@pytest.mark.parametrize("objects", [0, 1, 500])
def test_it_draws_whatever_there_is(classes, objects):
    rng = np.random.default_rng(0)
    counts = {f"class {number}": number for number in range(classes)}
    sizes, ratios = rng.uniform(1, 300, objects), rng.uniform(0.1, 9, objects)
    figure = data_figure(counts, sizes, ratios, SHAPES, {"small": (3, 12), "large": (0, 0)})
    figure.savefig(io.BytesIO(), format="png")
    assert {"25.0 % of 12", "0.0 % of 0"} <= set(texts(figure))


def test_the_most_frequent_classes_stand_on_top():
    counts = {f"class {number}": number * 1000 for number in range(80)}
    figure = data_figure(counts, np.ones(2), np.ones(2), SHAPES, {"small": (0, 2)})
    told = texts(figure)
    assert told.index("class 79") < told.index("class 50")
    assert "class 49" not in told
    assert "79,000" in told
