from functools import partial

import pytest

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data import shapes
from ssd.data.layout import locate
from ssd.data.source import load_data, load_parts


def test_voc_with_one_split_or_several(voc):
    voc.fill(4)
    voc.split("first", ["img01"])
    voc.split("second", ["img02", "img00"])
    config = DataConfig(format="voc", root=str(voc.root))
    assert len(load_data(config, "trainval", None).records) == 4
    data = load_data(config, ["second", "first"], ["dog"])
    assert [record.image_id for record in data.records] == ["img02", "img00", "img01"]
    assert data.classes == ("dog",)
    assert data.counts == {"objects": 3, "other_class": 2, "degenerate": 0, "clamped": 0}


def test_shapes_are_drawn_on_first_use(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "NUM_TRAINVAL", 4)
    monkeypatch.setattr(shapes, "NUM_TEST", 2)
    config, _ = locate(DataConfig(format="shapes", root=str(tmp_path / "shapes")))
    assert len(load_data(config, config.train_split, None).records) == 4
    assert len(load_data(config, config.eval_split, shapes.CLASSES).records) == 2


def test_missing_voc_data_is_not_drawn(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        load_data(DataConfig(format="voc", root=str(tmp_path / "voc")), "trainval", None)


@pytest.mark.parametrize("load", [partial(load_data, splits="odd", classes=None), load_parts])
def test_a_split_none_of_whose_images_is_there(voc, load):
    voc.fill(2)
    voc.split("odd", ["gone1", "gone2"])
    with pytest.raises(UserError) as refused:
        load(DataConfig("voc", str(voc.root), "odd", "share"))
    assert "odd: no image can be used (2 images; the first: " in str(refused.value)
    assert "odd.txt: gone1 has no image in " in str(refused.value)
    assert str(refused.value).endswith(f"ssd check {voc.root} lists all")
