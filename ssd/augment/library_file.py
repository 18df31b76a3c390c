"""A YAML file with an Albumentations pipeline → a pipeline that carries boxes along.

Albumentations builds a transform from its own register of names, to which `library_transforms.py`
adds ours, so a file cannot import or run other code.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import as_number, read_regular, short
from ssd.config.settings import LONGEST_ERROR, load_yaml

HOW_TO_WRITE = 'write it with albumentations.save(pipeline, FILE, data_format="yaml")'
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
    content = read_file(path)
    try:
        entry = _outermost(content.get("transform"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="Argument")  # a parameter that does not exist
            return _compose(entry)
    except ValueError as error:
        raise UserError(f"{path}: {one_line(error)[:LONGEST_ERROR]}") from error


def read_file(path: Path) -> dict[Any, Any]:
    """The content of the YAML file.

    Raises:
        UserError: it cannot be read, or holds no pipeline.
    """
    try:
        content = load_yaml(read_regular(path).decode())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: is not YAML ({one_line(error)[:LONGEST_ERROR]})") from error
    if not isinstance(content, dict) or not {"transform", "torchvision"} & content.keys():
        raise UserError(f"{path}: holds no `transform`: {HOW_TO_WRITE}")
    return content


def _outermost(entry: Any) -> dict[str, Any]:
    """The outermost Compose, as it is written in the file."""
    if not isinstance(entry, dict):
        raise ValueError(f"holds no `transform`: {HOW_TO_WRITE}")
    return entry if entry.get("__class_fullname__") == "Compose" else {"transforms": [entry]}


def _compose(entry: dict[str, Any]) -> Any:
    albumentations = _albumentations()
    transforms = entry.get("transforms")
    if not isinstance(transforms, list) or not transforms:
        raise ValueError(f"the transforms of Compose are {short(transforms)}, not a list")
    built = [_build(albumentations, one) for one in transforms]
    for transform in _all_of(built):
        _check(albumentations, transform)
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
    return albumentations.Compose(built, bbox_params=boxes, p=probability)


def _build(albumentations: Any, entry: Any) -> Any:
    """The transform that an entry of the file describes, with those inside it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("__class_fullname__"), str):
        raise ValueError(f"{short(entry)} is not a transform: {HOW_TO_WRITE}")
    try:
        return albumentations.from_dict({"transform": entry})
    except KeyError as error:  # the register has no such name
        name = str(error.args[0])
        close = difflib.get_close_matches(name, _registered(), 1)
        hint = f"did you mean {close[0]}?" if close else "use one that Albumentations provides"
        raise ValueError(f"there is no transform {short(name)}: {hint}") from error
    except Exception as error:  # a constructor raises anything
        raise ValueError(f"{entry['__class_fullname__']}: {_reason(error)}") from error


def _all_of(transforms: list[Any]) -> Iterator[Any]:
    """The transforms and all those inside them."""
    for transform in transforms:
        yield transform
        yield from _all_of(getattr(transform, "transforms", []))


def _check(albumentations: Any, transform: Any) -> None:
    """Raises a ValueError for a transform that an 8-bit image with boxes cannot go through."""
    name = type(transform).__name__
    if name in NORMALISING:
        raise ValueError(f"{name} does not return 8-bit pixels: remove it, the model normalises")
    if isinstance(transform, albumentations.Transform3D):
        raise ValueError(f"{name} cannot be applied to images: remove it")
    if missing := sorted({*getattr(transform, "targets_as_params", [])} - {"image", "bboxes"}):
        have = "only images and boxes are available"
        raise ValueError(f"{name} needs {missing[0]}, but {have}: remove it")


def _albumentations() -> Any:
    """Imports the library, which takes a second, where it is needed, and registers ours with it."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the network
    import albumentations

    from ssd.augment import library_transforms  # noqa: F401

    return albumentations


def _registered() -> list[str]:
    from albumentations.core.serialization import SERIALIZABLE_REGISTRY

    return list(SERIALIZABLE_REGISTRY)


def _reason(error: Exception) -> str:
    """A constructor's complaint in short; pydantic's has many lines."""
    cause = error.__cause__
    if cause is None or not hasattr(cause, "errors"):
        return one_line(error)
    first = cause.errors()[0]
    return ": ".join(map(str, [*first["loc"][:1], first["msg"]]))
