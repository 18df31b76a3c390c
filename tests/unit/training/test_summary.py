from dataclasses import replace
from pathlib import Path

import pytest

from ssd.config.settings import to_config
from ssd.data import num_workers
from ssd.data.shapes import draw_shapes
from ssd.run.checkpoints import newest_intact
from ssd.training import cache_place
from ssd.training.build import build
from ssd.training.start import train
from ssd.training.summary import closing, mixing, summary
from ssd.training.trainer import DONE

SPLITS = {"train_split": "trainval", "eval_split": "test"}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    draw_shapes(root, 6, 2, seed=1)
    return str(root)


@pytest.fixture
def lines(shapes, monkeypatch):
    """The summary of a small run on a machine of four cores, by the name of each line."""
    monkeypatch.setattr(num_workers, "usable_cores", lambda: 4)
    monkeypatch.setattr(cache_place, "free_memory", lambda: 10**9)

    def of(steps, checkpoint=None, **data):
        config = small_run(shapes, steps, **data)
        text = summary(config, Path("runs/x"), build(config, checkpoint))
        return {line[:10].strip(): line[10:] for line in text.splitlines()}

    return of


def small_run(shapes, steps, **data):
    """A run of three steps an epoch."""
    return to_config(
        {
            "data": {"format": "voc", "root": shapes, **SPLITS, **data},
            "model": {"backbone": "ssd7", "input_size": 96},
            "training": {"batch_size": 2, "steps": steps, "device": "cpu"},
        }
    )


def test_a_run_says_what_was_chosen_for_it(lines):
    told = lines(steps=4)
    assert told["cache"].startswith("host memory keeps all 6 images, 0.00 GB (data.cache auto)")
    assert told["workers"].endswith(" (data.workers auto: 4 cores)")


def test_mosaic_and_mixup_are_told_with_their_end(lines):
    assert "mixing" not in lines(steps=4)
    augment = {"mosaic_probability": 0.5, "mixup_probability": 0.25}
    config = to_config({"augment": augment})
    assert mixing(config, None) == "mosaic 0.5, mixup 0.25"
    assert mixing(config, 45) == "mosaic 0.5, mixup 0.25, in the first 45 epochs"
    alone = to_config({"augment": augment, "training": {"batch_size": 1}})
    assert mixing(alone, 45).startswith("no mosaic and no mixup: a batch of one image")
    assert mixing(config, 0).startswith(
        "no mosaic and no mixup: augment.closing_share is the whole"
    )


def test_the_closing_epochs_are_told():
    assert closing(to_config({}), None) == ""
    short = to_config({"augment": {"closing_share": 0.2}})
    assert closing(short, None).startswith("no whole images at the end: the training is too short")
    chain = to_config({"augment": {"closing_share": 0.2}})
    assert closing(chain, 3) == "whole images from epoch 4 on (augment.closing_share)"
    still = {"crop": False, "expand_probability": 0}
    mixed = to_config({"augment": {"closing_share": 0.2, "mixup_probability": 0.5, **still}})
    assert closing(mixed, 3).startswith("whole images")
    own = to_config({"augment": {"closing_share": 0.2, "library": "mine.yaml"}})
    assert closing(own, 3).endswith(", but for the transforms of augment.library")
    other = to_config({"augment": {"closing_share": 0.2, "engine": "library"}})
    assert closing(other, 3).endswith("it needs augment.engine device")
    for nothing in (still, {"engine": "none"}):
        config = to_config({"augment": {"closing_share": 0.2, **nothing}})
        assert closing(config, 3) == "augment.closing_share has nothing to close"


def test_a_run_that_sees_each_image_once_keeps_none(lines):
    assert lines(steps=3)["cache"] == "none: no image comes twice in this run (data.cache auto)"


def test_a_resumed_run_looks_at_what_is_left_of_it(lines, shapes, tmp_path):
    assert train(small_run(shapes, steps=2), tmp_path, "never") == DONE
    checkpoint = newest_intact(tmp_path / "checkpoints")
    assert lines(3, checkpoint)["cache"].startswith("none: no image comes twice in this run ")
    assert lines(4, checkpoint)["cache"].startswith("host memory keeps all 6 images, ")


def test_what_the_user_chose_is_told_without_a_reason(lines):
    told = lines(steps=4, cache="none", workers=0)
    assert "cache" not in told
    assert told["workers"] == "0"


@pytest.mark.parametrize(
    ("train_split", "eval_split", "number"),
    [
        ("trainval", "trainval", "6 of the 6"),
        (["trainval", "test"], "test", "2 of the 2"),
        ("test", ["trainval", "test"], "2 of the 8"),
        ("trainval", "test", ""),
        ("trainval", "share", ""),
        ("trainval", None, ""),
    ],
)
def test_an_evaluation_on_training_images_is_told(lines, train_split, eval_split, number):
    told = lines(steps=3, train_split=train_split, eval_split=eval_split)
    warning = f"trains on {number} images that it evaluates on (data.eval_split)"
    assert told.get("caution", "") == (warning if number else "")


def test_images_without_a_label_file_are_told(shapes):
    config = small_run(shapes, 4)
    parts = build(config, None)
    bare = replace(parts, train_data=replace(parts.train_data, unlabelled=3))
    assert ", 3 images without a label file), 2 to evaluate on" in summary(config, Path("x"), bare)
    assert "label file" not in summary(config, Path("x"), parts)
