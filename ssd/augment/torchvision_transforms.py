"""The user's own transforms of torchvision (v2), run on each image in the process that decodes it.

    torchvision:
      - RandomPhotometricDistort: {p: 0.5}
      - RandomZoomOut: {side_range: [1, 3]}
      - RandomIoUCrop

Only transforms of `torchvision.transforms.v2` can be named in the file, so it cannot run other
code. What they do to an image is a pure function of (seed, epoch, image key).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import short
from ssd.config.settings import LONGEST_ERROR
from ssd.structures import Sample

KEY = "torchvision"


class TorchvisionTransform:
    """Changes Samples by torchvision's transforms; may be sent to other processes."""

    def __init__(self, path: Path, entries: Any, seed: int) -> None:
        """Builds the transforms.

        Args:
            path: the YAML file, named in errors.
            entries: the list below `torchvision` in it.
            seed: of the run.

        Raises:
            UserError: a transform is unknown or its parameters are wrong.
        """
        self.path, self.seed = path, seed
        try:
            if not isinstance(entries, list) or not entries:
                raise ValueError(f"{KEY} is {short(entries)}, but has to be a list of transforms")
            self.transforms = [_build(entry) for entry in entries]
        except ValueError as error:
            raise UserError(f"{path}: {one_line(error)[:LONGEST_ERROR]}") from error

    def __call__(self, sample: Sample) -> Sample:
        """The changed sample: its pixels may have another size, its objects may be fewer.

        Raises:
            UserError: a transform fails, or returns something else than an 8-bit image.
        """
        from torchvision import tv_tensors
        from torchvision.transforms.v2 import ConvertBoundingBoxFormat, SanitizeBoundingBoxes

        pixels = torch.from_numpy(sample.pixels.copy()).permute(2, 0, 1)
        state = {
            "image": tv_tensors.Image(pixels),
            "boxes": tv_tensors.BoundingBoxes(
                torch.from_numpy(sample.boxes), format="XYXY", canvas_size=sample.pixels.shape[:2]
            ),
            "labels": torch.from_numpy(sample.labels),
        }
        step: Any = self
        draws = np.random.default_rng([self.seed, sample.epoch, sample.key])
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(draws.integers(1 << 63)))
                corners = ConvertBoundingBoxFormat("XYXY")
                for step in (*self.transforms, SanitizeBoundingBoxes(), corners):
                    state = step(state)
            image = state["image"]
            if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
                raise ValueError(f"it returns {image.dtype} of shape {tuple(image.shape)}")
        except Exception as error:  # a transform may raise anything
            what = f"{type(error).__name__}: {one_line(error)}"[:LONGEST_ERROR]
            where = f"{self.path}: {type(step).__name__} fails on image {sample.image_id}"
            raise UserError(f"{where}: {what}: change or remove it") from error
        return replace(
            sample,
            pixels=np.ascontiguousarray(image.permute(1, 2, 0).numpy()),
            boxes=np.asarray(state["boxes"], np.float32).reshape(-1, 4),
            labels=state["labels"].numpy(),
        )


def _build(entry: Any) -> Any:
    """The transform of an entry: a name, or a name with its parameters."""
    from torchvision.transforms import v2

    name, params = (entry, {}) if isinstance(entry, str) else _pair(entry)
    known = {
        key: value
        for key, value in vars(v2).items()
        if isinstance(value, type) and issubclass(value, v2.Transform)
    }
    if name not in known:
        close = difflib.get_close_matches(str(name), known, 1)
        hint = f"did you mean {close[0]}?" if close else "use one of torchvision.transforms.v2"
        raise ValueError(f"there is no transform {short(name)}: {hint}")
    if {"transform", "transforms"} & params.keys():
        raise ValueError(f"{name} holds other transforms: write these themselves, each with its p")
    try:
        return known[name](**params)
    except Exception as error:  # a constructor raises anything
        raise ValueError(f"{name}: {one_line(error)}") from error


def _pair(entry: Any) -> tuple[Any, dict[str, Any]]:
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, params),) = entry.items()
        if params is None or isinstance(params, Mapping):
            return name, dict(params or {})
    raise ValueError(f"{short(entry)} is no transform: write a name, or `name: {{key: value}}`")
