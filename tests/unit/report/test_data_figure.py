import cv2
import numpy as np
import pytest

from ssd.report.data_figure import write_data_figure

SHAPES = np.array([30, 60, 120], np.float32), np.array([1, 2, 0.5], np.float32)


@pytest.mark.parametrize("objects", [0, 1, 500])
@pytest.mark.parametrize("classes", [1, 80])
def test_it_is_drawn(tmp_path, objects, classes):
    rng = np.random.default_rng(0)
    sizes, ratios = rng.uniform(1, 300, objects), rng.uniform(0.1, 9, objects)
    names = {f"class {number} $x^2$ {'long ' * number}": number for number in range(classes)}
    path = tmp_path / "data_check.png"
    sides = {"under 32 px": (0, 0), "32 to 96 px": (10, 3), "from 96 px": (5, 5)}
    write_data_figure(
        path, names, (sizes.astype(np.float32), ratios.astype(np.float32)), SHAPES, sides
    )
    pixels = cv2.imread(str(path))
    height, width, _ = pixels.shape
    assert width == 1650
    assert 500 < height < 900
    unmatched = pixels[:, int(0.8 * width) :]
    vermilion = (np.abs(unmatched.astype(int) - (0, 94, 213)) < 8).all(-1)
    assert vermilion.sum() > 1000
