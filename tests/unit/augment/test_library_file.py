import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ssd.augment.library_file import read_pipeline
from ssd.common.errors import UserError
from ssd.config.recipes import ALBUMENTATIONS

FLIP = {"__class_fullname__": "HorizontalFlip", "p": 0.5}


@pytest.fixture
def written(tmp_path):
    """Writes a file of one transform; returns its path."""

    def write(entry):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"__version__": "2.0.8", "transform": entry}))
        return path

    return write


def composed(*entries, **more):
    return {"__class_fullname__": "Compose", "p": 1.0, "transforms": list(entries), **more}


def test_a_saved_pipeline_is_read_as_it_was(tmp_path):
    import albumentations as A

    from ssd.augment.library_transforms import SSDCrop, SSDExpand

    saved = A.Compose(
        [
            A.OneOf([A.GaussNoise(p=0.3), A.Sequential([A.Blur(blur_limit=(3, 5))])], p=0.9),
            A.SomeOf([A.VerticalFlip(p=1), A.Transpose(p=1)], n=1, p=0.4),
            SSDExpand(expand_max=3, fill=(1, 2, 3), p=0.2),
            SSDCrop(min_scale=0.5),
        ],
        bbox_params=A.BboxParams("coco", label_fields=["class"], min_visibility=0.25),
        p=0.7,
    )
    path = tmp_path / "mine.yaml"
    A.save(saved, path, data_format="yaml")
    read, expected = read_pipeline(path).to_dict_private(), saved.to_dict_private()
    assert read["transforms"] == expected["transforms"]
    assert read["p"] == 0.7
    params = read["bbox_params"]
    assert params["min_visibility"] == 0.25
    assert params["format"] == "albumentations"
    assert params["clip"] is True


def test_a_single_transform_is_a_pipeline(written):
    assert [type(one).__name__ for one in read_pipeline(written(FLIP)).transforms] == [
        "HorizontalFlip"
    ]


def test_the_shipped_chain_is_in_the_order_of_caffes(repository):
    assert (
        repository / "configs" / "augment" / "ssd_albumentations.yaml" == ALBUMENTATIONS.resolve()
    )
    names = [type(one).__name__ for one in read_pipeline(ALBUMENTATIONS).transforms]
    assert names[-3:] == ["SSDExpand", "SSDCrop", "HorizontalFlip"]


WRONG = {
    "there is no transform 'HorizontalFlap': did you mean HorizontalFlip?": {
        "__class_fullname__": "HorizontalFlap",
        "p": 1.0,
    },
    "there is no transform 'SSDCrops': did you mean SSDCrop?": composed(
        {"__class_fullname__": "SSDCrops", "p": 1.0}
    ),
    "there is no transform 'os.system'": {"__class_fullname__": "os.system", "p": 1},
    "Lambda: To deserialize a non-serializable": {
        "__class_fullname__": "Lambda",
        "__type__": "Lambda",
        "__name__": "f",
    },
    "Pad3D cannot be applied": {"__class_fullname__": "Pad3D", "padding": 3, "p": 1.0},
    "Normalize does not return 8-bit pixels": {"__class_fullname__": "Normalize", "p": 1.0},
    "MaskDropout needs mask": {"__class_fullname__": "MaskDropout", "p": 1.0},
    "Blur: Argument(s) 'limit' are not valid": {"__class_fullname__": "Blur", "limit": 3, "p": 1.0},
    "Blur: blur_limit: ": {"__class_fullname__": "Blur", "blur_limit": "wide", "p": 1.0},
    "Resize: height: Field required": {"__class_fullname__": "Resize", "width": 9, "p": 1.0},
    "HorizontalFlip: Argument(s) 'often' are not valid": {
        "__class_fullname__": "HorizontalFlip",
        "p": 1.0,
        "often": 2,
    },
    "SSDCrop: min_scale is 7": {"__class_fullname__": "SSDCrop", "min_scale": 7, "p": 1.0},
    "SSDExpand: expand_max is 0": {"__class_fullname__": "SSDExpand", "expand_max": 0, "p": 1.0},
    "the transforms of Compose are None": {"__class_fullname__": "Compose", "p": 1.0},
    "'blur' is not a transform": composed("blur"),
    "Compose: min_area holds 'big'": composed(FLIP, bbox_params={"min_area": "big"}),
    "Compose: p holds 'often'": {**composed(FLIP), "p": "often"},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_pipeline_is_one_line(written, message):
    path = written(WRONG[message])
    with pytest.raises(UserError) as caught:
        read_pipeline(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("a: &a [1]\nb: *a\n", "is not YAML (aliases"),
        ("transform: !!python/object/apply:os.system [id]\n", "is not YAML"),
        ("- 1\n", "holds no `transform`"),
        ("transform: 3\n", "holds no `transform`"),
        ("\0\udcff", "is not YAML"),
    ],
)
def test_a_file_of_another_kind_is_one_line(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError) as caught:
        read_pipeline(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line():
    with pytest.raises(UserError, match=r"nowhere\.yaml: cannot be read \(No such file"):
        read_pipeline(Path("nowhere.yaml"))


def test_a_pipeline_cannot_import_code(written, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="there is no transform"):
        read_pipeline(written({"__class_fullname__": "trap.Trap", "p": 1.0}))
    assert "trap" not in sys.modules


def test_albumentations_is_not_imported_before_it_is_asked_for_and_asks_no_network():
    script = f"""
import sys
from pathlib import Path
from ssd.augment.library import LibraryTransform
from ssd.config.recipes import ALBUMENTATIONS
assert "albumentations" not in sys.modules
import urllib.request
urllib.request.OpenerDirector.open = lambda *_, **__: sys.exit("asked the network")
LibraryTransform(Path({str(ALBUMENTATIONS)!r}), 0)
assert "albumentations" in sys.modules
"""
    unset = {name: value for name, value in os.environ.items() if "ALBUMENTATIONS" not in name}
    subprocess.run([sys.executable, "-c", script], check=True, env=unset)
