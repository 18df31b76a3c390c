"""An opened exported file, in one form for every runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy.typing as npt

Run = Callable[[npt.NDArray[Any]], list[npt.NDArray[Any]]]


class Session(NamedTuple):
    """An exported file in its runtime.

    Attributes:
        run: a batch of images → the outputs; may raise anything.
        metadata: as `read_facts` takes it.
        inputs: name and type, such as `float32`, of each.
        outputs: the name of each.
    """

    run: Run
    metadata: Mapping[str, str]
    inputs: Sequence[tuple[str, str]]
    outputs: Sequence[str]
