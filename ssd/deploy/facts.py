"""The facts about an exported file that stand in it, so that it needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ssd.common.untrusted import (
    CONTROL,
    LONGEST_NAME,
    MOST_CLASSES,
    as_name,
    as_number,
    as_whole,
    short,
)

FORMAT = "ssd-trainer 1"
LARGEST_INPUT = 2048
Form = Literal["detections", "raw"]
OUTPUTS: dict[Form, tuple[str, ...]] = {
    "detections": ("boxes", "scores", "labels", "counts"),
    "raw": ("boxes", "scores"),
}


@dataclass(frozen=True)
class Facts:
    """What is known of an exported file.

    Attributes:
        form: `detections`, or `raw` for scores and boxes before suppression.
        pixels: whether it takes images as they are, rather than resized and normalised.
        classes: names of the labels from 1 on.
        input_size: height and width of the network's input in pixels; one number if equal.
        pixel_mean: RGB, 0 … 255, subtracted.
        pixel_std: RGB, 0 … 255, divided by.
        antialias: whether shrinking averages all pixels that an output pixel covers.
        score_threshold: detections have scores above it.
        nms_iou: overlap above which only the better of two boxes of a class stays.
        top_k: candidates of a class.
        max_detections: of an image.
        run: name of the run folder.
        step: optimizer steps that the weights were trained for.
        date: of the export.
        licence: of the weights, as far as known.
        config: the settings with which to evaluate it, as YAML.
    """

    form: Form
    pixels: bool
    classes: tuple[str, ...]
    input_size: int | tuple[int, int]
    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]
    antialias: bool
    score_threshold: float
    nms_iou: float
    top_k: int
    max_detections: int
    run: str
    step: int
    date: str
    licence: str
    config: str

    def metadata(self) -> dict[str, str]:
        """The facts as texts: strings as they are, and all else as JSON."""
        return {"format": FORMAT} | {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in asdict(self).items()
        }


def read_facts(metadata: Mapping[str, str]) -> Facts:
    """The facts in a file's metadata.

    Raises:
        ValueError: they are not there, or one of them is impossible.
    """
    if metadata.get("format") != FORMAT:
        raise ValueError("it was not written by `ssd export` of this version")
    values: dict[str, Any] = {}
    for field in fields(Facts):
        if field.name not in metadata:
            raise ValueError(f"its metadata has no {field.name}")
        text = metadata[field.name]
        is_text = field.type in ("str", "Form")
        try:
            values[field.name] = text if is_text else json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"its {field.name} is {short(text)}, which is not JSON") from None
    _check(values)
    return Facts(**values)


def _check(values: dict[str, Any]) -> None:
    """Raises a ValueError if a value is impossible; makes tuples of lists and cleans names."""
    if values["form"] not in OUTPUTS:
        raise ValueError(f"its form is {short(values['form'])}, but has to be detections or raw")
    for name in ("pixels", "antialias"):
        if not isinstance(values[name], bool):
            raise ValueError(f"its {name} is {short(values[name])}, but has to be true or false")
    for name, count in (("pixel_mean", 3), ("pixel_std", 3), ("classes", None)):
        value = values[name]
        fits = isinstance(value, list) and (len(value) == count or count is None)
        if not fits or not 0 < len(value) <= MOST_CLASSES:
            raise ValueError(f"its {name} are {short(value)}, but have to be a list")
    values["run"] = " ".join(CONTROL.sub(" ", values["run"]).split())[:LONGEST_NAME]
    values["classes"] = tuple(as_name("classes", one) for one in values["classes"])
    for name in ("pixel_mean", "pixel_std"):
        values[name] = tuple(as_number(name, one) for one in values[name])
    if min(values["pixel_std"]) <= 0:
        raise ValueError("its pixel_std are not above 0")
    for name in ("score_threshold", "nms_iou"):
        values[name] = as_number(name, values[name])
    for name in ("top_k", "max_detections", "step"):
        as_whole(name, values[name], 0)
    size = values["input_size"]
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if max(as_whole("input_size", side, 1) for side in sides) > LARGEST_INPUT:
        raise ValueError(f"its input_size is {size}, above {LARGEST_INPUT}")
    values["input_size"] = size if sides == [size] else tuple(size)
