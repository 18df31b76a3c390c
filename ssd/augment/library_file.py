"""Albumentations' serialised pipelines: a YAML file → a pipeline that carries boxes along.

Only that library's transforms and those of `library_transforms.py` can be named in the file: no
other code is imported or run.
"""

from __future__ import annotations

import difflib
import os
import warnings
from pathlib import Path
from typing import Any

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import as_number, read_regular, short
from ssd.config.settings import LARGEST_YAML, LONGEST_ERROR, load_yaml

HOW_TO_WRITE = 'write it with albumentations.save(pipeline, FILE, data_format="yaml")'
OURS = "SSDExpand", "SSDCrop"
NORMALISING = "FromFloat", "Normalize", "ToFloat", "ToTensorV2"
KEPT_PARAMS = "min_area", "min_visibility", "min_width", "min_height", "max_accept_ratio"
LEAST_AREA = 1e-6  # pixels; Albumentations itself keeps boxes of which nothing is left


def read_pipeline(path: Path) -> Any:
    """The Albumentations pipeline of a YAML file, as a Compose that carries boxes along.

    Of its `bbox_params`, the smallest sizes and the visibility count; boxes are always clipped.

    Raises:
        UserError: the file cannot be read, is not a pipeline, names an unknown transform or one
            that cannot be applied to an image with boxes, or a parameter is wrong.
    """
    try:
        entry = _read_entry(path)
        if entry.get("__class_fullname__") != "Compose":
            entry = {"transforms": [entry]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wrong parameters they tell of are errors here
            return _compose(entry)
    except ValueError as error:
        raise UserError(f"{path}: {one_line(error)[:LONGEST_ERROR]}") from error


def _read_entry(path: Path) -> dict[str, Any]:
    """The outermost transform, as it is written in the file."""
    try:
        content = load_yaml(read_regular(path, LARGEST_YAML).decode())
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"is not YAML ({one_line(error)})") from error
    if not isinstance(content, dict) or not isinstance(content.get("transform"), dict):
        raise ValueError(f"holds no `transform`: {HOW_TO_WRITE}")
    entry: dict[str, Any] = content["transform"]
    return entry


def _compose(entry: dict[str, Any]) -> Any:
    """The outermost Compose."""
    albumentations = _albumentations()
    transforms = [_build(one) for one in _inner("Compose", entry)]
    try:
        given = entry.get("bbox_params") or {}
        params = {name: given[name] for name in KEPT_PARAMS if given.get(name) is not None}
        numbers = {name: as_number(name, value) for name, value in params.items()}
        numbers["min_area"] = max(numbers.get("min_area", 0.0), LEAST_AREA)
        boxes = albumentations.BboxParams("albumentations", clip=True, **numbers)
        boxes.filter_invalid_bboxes = True
        probability = as_number("p", entry.get("p", 1.0))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"Compose: {one_line(error)}") from error
    return albumentations.Compose(transforms, bbox_params=boxes, p=probability)


def _build(entry: Any) -> Any:
    """The transform that an entry of the file names, and those inside it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("__class_fullname__"), str):
        raise ValueError(f"{short(entry)} is no transform: {HOW_TO_WRITE}")
    name = entry["__class_fullname__"].removeprefix("albumentations.").split(".")[-1]
    transform = _class(name)
    if "p" not in entry and name not in ("Compose", "Sequential"):
        raise ValueError(f"{name} has no p: write how often it is applied, as in `p: 0.5`")
    given = {key: value for key, value in entry.items() if key != "__class_fullname__"}
    if "transforms" in given:
        given["transforms"] = [_build(one) for one in _inner(name, given)]
    try:
        built = transform(**given)
    except Exception as error:  # whatever a constructor raises
        raise ValueError(f"{name}: {_reason(error)}") from error
    if wrong := getattr(built, "invalid_args", []):
        raise ValueError(f"{name} has no parameter {wrong[0]}")
    if missing := sorted({*getattr(built, "targets_as_params", [])} - {"image", "bboxes"}):
        raise ValueError(f"{name} needs {missing[0]}, and there are images and boxes: remove it")
    return built


def _inner(name: str, entry: dict[str, Any]) -> list[Any]:
    transforms = entry.get("transforms")
    if not isinstance(transforms, list) or not transforms:
        raise ValueError(f"the transforms of {name} are {short(transforms)}, but have to be a list")
    return transforms


def _class(name: str) -> Any:
    """The class of a transform that can be applied to an image with boxes."""
    albumentations = _albumentations()
    from ssd.augment import library_transforms

    if name in OURS:
        return getattr(library_transforms, name)
    kinds = albumentations.BasicTransform, albumentations.BaseCompose
    abstract = *kinds, albumentations.DualTransform, albumentations.ImageOnlyTransform
    known: dict[str, Any] = {
        key: value
        for key, value in vars(albumentations).items()
        if isinstance(value, type) and issubclass(value, kinds) and value not in abstract
    }
    if name not in known:
        close = difflib.get_close_matches(name, [*known, *OURS], 1)
        hint = f"did you mean {close[0]}?" if close else "take one that Albumentations has"
        raise ValueError(f"there is no transform {short(name)}: {hint}")
    if name in NORMALISING:
        raise ValueError(f"{name} makes other than 8-bit pixels: remove it, the model normalises")
    if not known[name].is_serializable() or issubclass(known[name], albumentations.Transform3D):
        raise ValueError(f"{name} cannot be applied to images by a file: remove it")
    return known[name]


def _albumentations() -> Any:
    """The library, imported where it is needed, since that takes a second."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the network
    import albumentations

    return albumentations


def _reason(error: Exception) -> str:
    """What a constructor has to say, in short."""
    cause = error.__cause__
    if cause is not None and hasattr(cause, "errors"):  # pydantic's, of many lines
        first = cause.errors()[0]
        where = first["loc"][0] if first["loc"] else ""
        if first["type"] == "missing":
            return f"{where} is missing"
        return f"{where} is {short(first['input'])}: {first['msg']}" if where else str(first["msg"])
    return one_line(error)
