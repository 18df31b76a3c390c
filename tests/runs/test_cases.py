"""Inputs of people's tools that failed once, and what becomes of each without any flag.

docs/data.md says the same in words.
"""

from dataclasses import replace
from typing import NamedTuple

import pytest

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.config.settings import read_config
from ssd.data.layout import locate
from ssd.data.source import load_data
from ssd.doctor.check import check_data
from ssd.run.names import EVALUATION
from ssd.training.start import train


class Read(NamedTuple):
    """The images and objects to train on and to evaluate on, and the kind of one repair."""

    images: int = 2
    objects: int = 2
    eval_images: int = 2
    eval_objects: int = 2
    repaired: str = ""
    classes: tuple[str, ...] = ("cat",)


READ = {
    "coco-absolute": Read(repaired="path of another machine"),
    "coco-backslash": Read(repaired="path from another folder"),
    "coco-bbox-strings": Read(repaired="number as text"),
    "coco-empty-bbox": Read(repaired="no box, left out"),
    "coco-file-name-subfolder": Read(),
    "coco-float-size": Read(repaired="whole number with a decimal point"),
    "coco-missing-image": Read(),
    "coco-no-ann-id": Read(repaired="annotation id missing"),
    "coco-no-size": Read(repaired="size missing"),
    "coco-number-names": Read(repaired="number as a name", classes=("1",)),
    "coco-roboflow": Read(repaired="category that only groups the others, left out"),
    "coco-same-ann-id": Read(repaired="annotation id repeated"),
    "coco-segmentation-only": Read(repaired="polygon instead of a box"),
    "coco-string-ids": Read(repaired="id as text"),
    "coco-webp": Read(),
    "coco-zero-size": Read(repaired="size missing"),
    "images-corrupt-eval": Read(4, 4, 3, 3),
    "images-exif-stored": Read(repaired="turned by Exif, boxes turned with the image"),
    "images-modes": Read(6, 6, 6, 6),
    "voc-600-objects": Read(2, 1200, 2, 1200),
    "voc-classwise": Read(classes=("cat", "dog")),
    "voc-difficult-text": Read(repaired="difficult is no number"),
    "voc-kaggle-folders": Read(),
    "voc-list-paths": Read(),
    "voc-list-with-extension": Read(),
    "voc-many-bndbox": Read(2, 6, 2, 6, "several bndbox in one object"),
    "voc-names-with-spaces": Read(),
    "voc-polygon": Read(2, 4, 2, 4, "polygon instead of a box"),
    "voc-roboflow": Read(),
    "voc-size-zero": Read(repaired="size missing"),
    "voc-subfolders": Read(),
    "voc-unicode-nfd": Read(repaired="name spelled otherwise"),
    "voc-utf16": Read(),
    "voc-vott-duplicates": Read(repaired="listed twice in one list"),
    "voc-webp": Read(),
    "voc-yes-no-classes": Read(classes=("no", "yes")),
}
# What is refused: words of the reason, the remedy that is named, and the settings that follow it.
REFUSED = {
    "coco-all-crowd": ("crowd", "annotat", None),
    "voc-all-difficult": ("difficult", "data.eval_split null", {"eval_split": None}),
    "voc-half-degenerate": ("width and height", "data.max_mended 0.75", {"max_mended": 0.75}),
    "voc-swapped-corners": ("in which they were drawn", "data.max_mended", {"max_mended": 0.5}),
    "voc-wh-as-max": ("width and height", "data.max_mended", {"max_mended": 0.5}),
    "eval-600-objects": ("to train on", "data.train_split", {"train_split": "val"}),
}


@pytest.fixture
def run(repository, tmp_path):
    """Trains two steps on a folder, with an evaluation at the end if there is one."""

    def start(root, **data):
        config = read_config(
            [repository / "configs" / "custom_voc.yaml"],
            {
                "data": {"root": str(root), "workers": 0, **data},
                "model": {"input_size": 96},
                "training": {"steps": 2, "batch_size": 2, "device": "cpu"},
                "evaluation": {"every_epochs": 0},
            },
        )
        return train(config, tmp_path / "run", "auto")

    return start


@pytest.mark.parametrize("name", READ)
def test_what_is_read(case, name):
    config, _ = locate(DataConfig(format="auto", root=str(case(name))))
    data = load_data(config, config.train_split, config.classes)
    held_out = load_data(config, config.eval_split, data.classes)
    counts = [
        count
        for part in (data, held_out)
        for count in (len(part.records), sum(len(record.labels) for record in part.records))
    ]
    expected = READ[name]
    assert tuple(counts) == expected[:4]
    assert data.classes == expected.classes
    assert list(data.repairs) == ([expected.repaired] if expected.repaired else [])


@pytest.mark.parametrize("name", [*READ, *REFUSED])
def test_a_check_goes_through(case, name):
    config = DataConfig(format="auto", root=str(case(name)), workers=1)
    if name == "eval-600-objects":
        config = replace(config, train_split="val")
    checked = check_data(config, 96)
    leaves_out = {"coco-missing-image", "images-corrupt-eval", "images-modes"}
    assert checked.is_broken == (name in {*REFUSED, *leaves_out} - {"eval-600-objects"})


@pytest.mark.long
@pytest.mark.parametrize("name", READ)
def test_it_trains_and_is_evaluated(case, run, tmp_path, name):
    assert run(case(name)) == 0
    assert (tmp_path / "run" / EVALUATION).exists()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_names_the_remedy(case, run, name):
    reason, remedy, _ = REFUSED[name]
    with pytest.raises(UserError) as refused:
        run(case(name))
    assert reason in str(refused.value)
    assert remedy in str(refused.value)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, told in REFUSED.items() if told[2] is not None])
def test_the_remedy_helps(case, run, name):
    assert run(case(name), **REFUSED[name][2]) == 0
