"""Divides the images of one split in two, to train on and to evaluate on.

An image's place in the division is drawn from a seed and its image id, so it depends on neither
the order of the files nor the machine. The run folder keeps the division, which a resumed run
takes again even if the data has grown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

import numpy as np

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.common.untrusted import read_json, shown
from ssd.common.words import counted
from ssd.data.annotations import Annotations
from ssd.structures import BoolArray

LARGEST_DRAW = 2.0**64


def evaluated(
    image_ids: Sequence[str], share: float, seed: int, kept: Mapping[str, bool] | None = None
) -> BoolArray:
    """A mask of the images to evaluate on; at least one is, and at least one is not.

    Args:
        image_ids: different names.
        share: of the images to evaluate on, 0 … 1.
        seed: of the division.
        kept: an earlier division, in which True means evaluated. Its images stay where they are,
            and of the new ones each is evaluated on with the probability `share`.

    Raises:
        UserError: there are fewer than two images.
    """
    if len(image_ids) < 2:
        raise UserError(
            f"{counted(len(image_ids), 'image')} cannot be divided to train and to evaluate on: "
            "add images, or set --data.eval_split null to train without evaluation"
        )
    draws = np.array([_draw(image_id, seed) for image_id in image_ids])
    if kept:
        known = [kept.get(name, draw < share) for name, draw in zip(image_ids, draws, strict=True)]
        return np.array(known, np.bool_)
    count = min(max(1, round(share * len(draws))), len(draws) - 1)
    mask = np.zeros(len(draws), np.bool_)
    mask[np.argsort(draws, kind="stable")[:count]] = True
    return mask


def _draw(image_id: str, seed: int) -> float:
    """A number 0 … 1 that depends on the seed and the image id alone."""
    digest = hashlib.sha256(f"{seed} {image_id}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / LARGEST_DRAW


def only(found: Annotations, mask: BoolArray) -> Annotations:
    """The images of `found` that `mask` marks, with their objects."""
    rows = np.flatnonzero(mask[found.image_index])
    places = np.cumsum(mask) - 1
    return replace(
        found,
        images=[image for image, is_kept in zip(found.images, mask, strict=True) if is_kept],
        image_index=places[found.image_index[rows]],
        category=found.category[rows],
        corners=found.corners[rows],
        sound=found.sound[rows],
        difficult=found.difficult[rows],
        crowd=found.crowd[rows],
        called=lambda row: found.called(int(rows[row])),
        swapped=None if found.swapped is None else found.swapped[rows],
        sides=None if found.sides is None else found.sides[rows],
        areas=None if found.areas is None else found.areas[rows],
        broken={int(places[at]): told for at, told in found.broken.items() if mask[at]},
    )


def write_division(
    path: Path,
    train: Sequence[str],
    evaluation: Sequence[str],
    kept: Mapping[str, bool] | None = None,
) -> None:
    """Writes the image ids of both parts, whole or not at all.

    All names of an earlier division `kept` stay in it: an image that is missing now may come back,
    and one that was held out must not be trained on then.
    """
    division = {**(kept or {}), **dict.fromkeys(train, False), **dict.fromkeys(evaluation, True)}
    content = {
        "train": [name for name, is_held_out in division.items() if not is_held_out],
        "eval": [name for name, is_held_out in division.items() if is_held_out],
    }
    write_whole(path, json.dumps(content, indent=1) + "\n")


def missing_held_out(kept: Mapping[str, bool], there: Collection[str]) -> str:
    """The held-out images of a division that are not `there`, in a line; empty if all are."""
    held_out = [name for name, is_held_out in kept.items() if is_held_out]
    lost = [name for name in held_out if name not in there]
    if not lost:
        return ""
    part = f"{len(lost):,} of the {counted(len(held_out), 'image')} held out"
    return f"{part} are not there or cannot be used: {shown(lost)}"


def read_division(path: Path) -> dict[str, bool] | None:
    """The division in a file of `write_division`, in which True means evaluated; None if none.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return None
    content = read_json(path)
    parts = [content.get(part) for part in ("train", "eval")] if isinstance(content, dict) else []
    named = [part for part in parts if isinstance(part, list) and all_texts(part)]
    if len(named) < 2 or not all(named) or set(named[0]) & set(named[1]):
        raise UserError(f"{path}: is no division of images: remove it to divide them anew")
    return dict.fromkeys(named[0], False) | dict.fromkeys(named[1], True)


def all_texts(values: list[object]) -> TypeGuard[list[str]]:
    """Returns whether all values are texts."""
    return all(isinstance(value, str) for value in values)
