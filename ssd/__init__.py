"""Trains SSD object detectors with a loss that never spikes at a short last batch.

The names below are imported when they are first used: `import ssd` alone costs nothing. docs/api.md
shows each of them at work.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssd.commands.api import check, evaluate, train
    from ssd.common.errors import UserError
    from ssd.deploy.runtime import ExportedDetector
    from ssd.detect.detector import Detector
    from ssd.detect.load import load
    from ssd.detect.result import Result
    from ssd.geometry.default_boxes import FeatureMap, default_boxes
    from ssd.spikes.explained import explain_losses as explain
    from ssd.spikes.watch import SpikeWatch
    from ssd.training.own_loop import Augment, MultiboxLoss

__all__ = [
    "Augment",
    "Detector",
    "ExportedDetector",
    "FeatureMap",
    "MultiboxLoss",
    "Result",
    "SpikeWatch",
    "UserError",
    "check",
    "default_boxes",
    "evaluate",
    "explain",
    "load",
    "train",
]

_HOMES = {
    "Augment": "ssd.training.own_loop",
    "Detector": "ssd.detect.detector",
    "ExportedDetector": "ssd.deploy.runtime",
    "FeatureMap": "ssd.geometry.default_boxes",
    "MultiboxLoss": "ssd.training.own_loop",
    "Result": "ssd.detect.result",
    "SpikeWatch": "ssd.spikes.watch",
    "UserError": "ssd.common.errors",
    "check": "ssd.commands.api",
    "default_boxes": "ssd.geometry.default_boxes",
    "evaluate": "ssd.commands.api",
    "explain": "ssd.spikes.explained",
    "load": "ssd.detect.load",
    "train": "ssd.commands.api",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    value = getattr(home, "explain_losses" if name == "explain" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The names that are meant for use."""
    return __all__
