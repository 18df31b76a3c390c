"""The same images of BCCD in the layouts of many tools give the same records."""

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from ssd.config import DataConfig
from ssd.data.layout import locate
from ssd.data.source import load_data
from ssd.data.voc import read_voc

spec = importlib.util.spec_from_file_location("exports", Path(__file__).with_name("exports.py"))
exports = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exports)
CLASSES = ("Platelets", "RBC", "WBC")
IMAGES, TRAINED = 20, 14


@pytest.fixture(scope="module")
def items(bccd):
    stems = (bccd / "ImageSets" / "Main" / "trainval.txt").read_text().split()[:IMAGES]
    return [item_of(bccd, stem) for stem in stems]


def item_of(bccd, stem):
    tree = ElementTree.parse(bccd / "Annotations" / f"{stem}.xml")
    objects = [
        (each.findtext("name"), tuple(int(each.findtext(f"bndbox/{side}")) for side in SIDES))
        for each in tree.iter("object")
    ]
    size = (int(tree.findtext(f"size/{side}")) for side in ("width", "height"))
    return exports.Item(bccd / "JPEGImages" / f"{stem}.jpg", *size, objects)


SIDES = "xmin", "ymin", "xmax", "ymax"


@pytest.fixture(scope="module")
def expected(bccd):
    data = read_voc(bccd, ["trainval"], CLASSES)
    return {record.path.stem: record for record in data.records[:IMAGES]}


def loaded(layout, root, items, **settings):
    parts = {"train": items[:TRAINED], "val": items[TRAINED:]}
    layout(root, parts, list(CLASSES))
    config, told = locate(DataConfig(format="auto", root=str(root), **settings))
    assert str(root) in told
    train = load_data(config, config.train_split, None)
    return train, load_data(config, config.eval_split, train.classes)


def assert_equal(records, expected, stems):
    assert [record.path.stem for record in records] == list(stems)
    for record in records:
        own = expected[record.path.stem]
        # YOLO's six digits are off by at most half a unit of the sixth, for centre and half a side.
        np.testing.assert_allclose(record.boxes, own.boxes, rtol=0, atol=0.75e-6 * own.width + 1e-4)
        np.testing.assert_array_equal(record.labels, own.labels)
        assert (record.width, record.height) == (own.width, own.height)
        assert not record.difficult.any()
        assert not record.crowd.any()


@pytest.mark.parametrize("name", exports.SPLIT)
def test_a_layout_with_splits(name, items, expected, tmp_path):
    train, evaluation = loaded(exports.SPLIT[name], tmp_path / "data", items)
    stems = [item.path.stem for item in items]
    assert train.classes == CLASSES
    assert_equal(train.records, expected, stems[:TRAINED])
    assert_equal(evaluation.records, expected, stems[TRAINED:])


@pytest.mark.parametrize("name", exports.WHOLE)
def test_a_layout_without_splits_is_divided(name, items, expected, tmp_path):
    train, evaluation = loaded(exports.WHOLE[name], tmp_path / "data", items, eval_share=0.3)
    assert train.classes == CLASSES
    stems = [[record.path.stem for record in data.records] for data in (train, evaluation)]
    assert [len(own) for own in stems] == [TRAINED, IMAGES - TRAINED]
    assert sorted(stems[0] + stems[1]) == sorted(expected)
    for data, own in zip((train, evaluation), stems, strict=True):
        assert_equal(data.records, expected, own)
