"""Objects that no default box fits: whether they are many, and which default boxes would fit."""

from __future__ import annotations

from collections.abc import Sequence

from ssd.common.sides import in_words
from ssd.config import ModelConfig
from ssd.data.findings import Finding
from ssd.doctor.suggest import Shapes, suggest
from ssd.geometry.default_boxes import FeatureMap
from ssd.structures import BoolArray, FloatArray

MANY = 1 / 3  # of the objects


def judge_boxes(
    boxes_N4: FloatArray,
    unmatched_N: BoolArray,
    maps: Sequence[FeatureMap],
    model: ModelConfig,
    match_iou: float,
    asked: bool,
) -> tuple[list[Finding], list[str]]:
    """A finding if a third of the objects is unmatched, and then, or if asked, settings to paste.

    Args:
        boxes_N4: the objects, xyxy relative to the image.
        unmatched_N: those that no default box overlaps enough.
        maps: the default boxes in use.
        model: the section of the config.
        match_iou: the overlap at which a default box fits.
        asked: whether the user wants settings in any case.
    """
    total, misfits = len(unmatched_N), int(unmatched_N.sum())
    are_many = misfits > 0 and misfits >= MANY * total
    if not asked and not are_many:
        return [], []
    found = suggest(boxes_N4, maps, model.input_size, match_iou, model.clamp_boxes)
    if found is None:
        better = "no other default boxes were found that fit more of them: raise model.input_size"
        lines = ["no other default boxes were found that fit more of the objects"]
    else:
        shapes, left = found
        better = f"{percent(left, total)} would be left with {in_yaml(shapes)}"
        better += ", and fewer with a larger model.input_size" if left >= MANY * total else ""
        flags = (f"--model.{name} '{numbers}'" for name, numbers in shapes.settings.items())
        lines = [
            f"default boxes that leave {percent(left, total)} of the objects unmatched, instead of "
            f"{percent(misfits, total)}, as YAML and as flags:",
            f"  {in_yaml(shapes)}",
            f"  {' '.join(flags)}",
        ]
    message = (
        f"{misfits:,} of {total:,} objects ({percent(misfits, total)}) overlap no default box by "
        f"IoU {match_iou:g} at {in_words(model.input_size)} pixels; {better}"
    )
    findings = [Finding("objects that no default box fits", False, message)] if are_many else []
    return findings, ["", *lines]


def in_yaml(shapes: Shapes) -> str:
    """The settings for default boxes of these shapes, as a line of YAML."""
    settings = (f"{name}: {numbers}" for name, numbers in shapes.settings.items())
    return f"model: {{{', '.join(settings)}}}"


def percent(part: int, whole: int) -> str:
    """`25 %`."""
    return f"{100 * part / max(1, whole):.0f} %"
