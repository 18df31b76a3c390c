"""The division of the images of one split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data import source
from ssd.data.source import load_data
from ssd.data.split import evaluated, missing_held_out, read_division, write_division
from ssd.training.build import load_splits


@given(
    st.lists(st.text(), min_size=2, max_size=40, unique=True),
    st.floats(1e-9, 1),
    st.integers(0, 2**62),
)
def test_both_parts_have_images_and_the_order_does_not_matter(names, share, seed):
    mask = evaluated(names, share, seed)
    assert mask.sum() == min(max(1, round(share * len(names))), len(names) - 1)
    again = evaluated(names[::-1], share, seed)[::-1]
    np.testing.assert_array_equal(again, mask)


def test_seeds_divide_differently():
    names = [str(number) for number in range(100)]
    masks = [evaluated(names, 0.2, seed) for seed in range(3)]
    assert [int(mask.sum()) for mask in masks] == [20, 20, 20]
    assert len({mask.tobytes() for mask in masks}) == 3


def test_the_draws_are_fair():
    hits = sum(evaluated(["a", "b", "c", "d"], 0.25, seed)[0] for seed in range(400))
    assert 70 < hits < 130  # 100 on average, three standard deviations are 26


def test_a_division_stays_where_data_grows(tmp_path):
    path = tmp_path / "division.json"
    write_division(path, ["a", "b"], ["c"])
    kept = read_division(path)
    mask = evaluated(["new", "c", "b", "a", *map(str, range(1000))], 0.2, 0, kept)
    assert mask[1:4].tolist() == [True, False, False]
    assert 150 < mask[4:].sum() < 250
    assert read_division(tmp_path / "nowhere.json") is None


def test_a_division_never_shrinks(tmp_path):
    path = tmp_path / "division.json"
    write_division(path, ["a", "b"], ["c", "d"])
    kept = read_division(path)
    write_division(path, ["b", "new"], ["c"], kept)
    assert read_division(path) == kept | {"new": False}
    told = "1 of the 2 images held out are not there or cannot be used: d"
    assert missing_held_out(kept, {"b", "c"}) == told
    assert missing_held_out(kept, {"c", "d"}) == ""


@pytest.mark.parametrize("text", ["[]", "{}", '{"train": ["a"]}', "{", '{"train": 1, "eval": []}'])
def test_a_damaged_division(tmp_path, text):
    path = tmp_path / "division.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"division\.json"):
        read_division(path)


def test_a_single_image_cannot_be_divided():
    with pytest.raises(UserError, match="1 image cannot be divided.*--data.eval_split null"):
        evaluated(["a"], 0.2, 0)


def divided(config):
    return load_data(config, config.train_split, None), load_data(config, "share", None)


def assert_parts(whole, parts):
    """The parts hold the records of the whole, each once and to the bit."""
    by_id = {record.image_id: record for record in whole.records}
    got = [record for part in parts for record in part.records]
    assert sorted(record.image_id for record in got) == sorted(by_id)
    for record in got:
        own = by_id[record.image_id]
        for name in ("boxes", "labels", "difficult", "crowd"):
            np.testing.assert_array_equal(getattr(record, name), getattr(own, name))
        assert (record.path, record.width, record.height) == (own.path, own.width, own.height)
    for name, count in whole.counts.items():
        assert sum(part.counts[name] for part in parts) == count


def test_the_parts_of_voc(voc):
    voc.fill(10)
    config = DataConfig("voc", str(voc.root), "trainval", "share")
    whole = load_data(DataConfig("voc", str(voc.root)), "trainval", None)
    parts = divided(config)
    assert [len(part.records) for part in parts] == [8, 2]
    assert_parts(whole, parts)


def test_the_parts_of_coco(coco):
    coco.write()
    config = DataConfig("coco", str(coco.root), "val", "share")
    whole = load_data(DataConfig("coco", str(coco.root)), "val", None)
    parts = divided(config)
    assert [len(part.records) for part in parts] == [1, 1]
    assert_parts(whole, parts)
    assert sum(len(part.truth.labels) for part in parts) == len(whole.truth.labels)
    for part in parts:
        assert part.truth.image_index.tolist() == [0] * len(part.truth.labels)
        assert part.classes == whole.classes


def test_both_parts_are_read_at_once(voc, monkeypatch):
    """A training reads the annotations once, and counts what was mended once."""
    voc.fill(10)
    for number in range(10):
        path = voc.root / f"Annotations/img{number:02}.xml"
        path.write_text(
            path.read_text().replace("<width>", "<width>0<!--").replace("</width>", "--></width>")
        )
    config = DataConfig("voc", str(voc.root), "trainval", "share")
    apart = divided(config)
    reads = []
    annotate = source.annotate
    monkeypatch.setattr(source, "annotate", lambda *a: reads.append(a) or annotate(*a))
    together = load_splits(config, None, None)
    assert len(reads) == 1
    for one, other in zip(together, apart, strict=True):
        assert_parts(one, [other])
    for parts in (together, apart):
        assert [part.repairs for part in parts] == [{"size missing": 10}, {}]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"train": ["a"]}',
        '{"train": [], "eval": ["a"]}',
        '{"train": ["a"], "eval": []}',
        '{"train": ["a", "b"], "eval": ["b"]}',
        '{"train": [["a"]], "eval": [1]}',
    ],
)
def test_a_damaged_division_is_refused(tmp_path, content):
    path = tmp_path / "division.json"
    path.write_text(content)
    with pytest.raises(UserError, match="is no division of images: remove it"):
        read_division(path)
