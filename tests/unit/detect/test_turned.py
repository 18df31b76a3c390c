"""An image that Exif turns is seen as its upright copy, wherever the detector looks."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ssd.augment.batch import preprocess_of
from ssd.config import AugmentConfig, EvaluationConfig, ModelConfig
from ssd.detect.detector import Detector, detect
from ssd.detect.shown import pictures
from ssd.model.ssd import build_model
from ssd.structures import DataSet, Record

MODEL = ModelConfig(backbone="ssd7", input_size=96, weights="none")
NOTHING = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, bool)


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    preprocess = preprocess_of(MODEL, AugmentConfig())
    config = EvaluationConfig(score_threshold=0.01, batch_size=2)
    return Detector(build_model(MODEL, 3), preprocess, ("cat", "dog"), None, config)


@pytest.fixture
def files(tmp_path):
    """A stored image with an orientation, and a copy that is turned already."""

    def save(orientation):
        pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned, upright = tmp_path / "turned.png", tmp_path / "upright.png"
        Image.fromarray(pixels).save(turned, exif=exif)
        ImageOps.exif_transpose(Image.open(turned)).save(upright)
        return turned, upright

    return save


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_prediction(detector, files, orientation):
    turned, upright = (detector.predict(file, 0.01) for file in files(orientation))
    assert len(turned) > 0
    np.testing.assert_array_equal(turned.boxes, upright.boxes)
    np.testing.assert_array_equal(turned.scores, upright.scores)
    np.testing.assert_array_equal(turned.pixels, upright.pixels)


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_evaluation_and_the_pictures_of_it(detector, files, orientation):
    turned, upright = files(orientation)
    width, height = (60, 80) if orientation >= 5 else (80, 60)
    records = [
        Record("a", turned, width, height, *NOTHING, orientation),
        Record("b", upright, width, height, *NOTHING),
    ]
    found = detect(detector, records, workers=0, show_progress=False)
    assert found.left_out == {}
    table = found.table
    first, second = table.image_index == 0, table.image_index == 1
    assert first.sum() > 0
    np.testing.assert_array_equal(table.boxes[first], table.boxes[second])
    one, other = pictures(DataSet(records, ("cat", "dog"), {}), table, 2)
    np.testing.assert_array_equal(one.pixels, other.pixels)


def test_an_image_that_cannot_be_read_is_left_out_of_an_evaluation(detector, files):
    turned, upright = files(6)
    records = [
        Record(name, path, 60, 80, *NOTHING, orientation)
        for name, path, orientation in [("a", turned, 6), ("b", upright, 1), ("c", upright, 1)]
    ]
    whole = detect(detector, records, workers=0, show_progress=False).table
    turned.write_bytes(turned.read_bytes()[:-400])
    found = detect(detector, records, workers=0, show_progress=False)
    assert found.left_out == {0: f"{turned}: image is cut off: its end marker is missing"}
    kept = whole.image_index > 0
    np.testing.assert_array_equal(found.table.image_index, whole.image_index[kept])
    np.testing.assert_array_equal(found.table.boxes, whole.boxes[kept])
    shown = pictures(DataSet(records, ("cat", "dog"), {}), found.table, 3)
    assert [picture.name for picture in shown] == ["b", "c"]
