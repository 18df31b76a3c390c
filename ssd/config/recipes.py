"""Where the recipes lie that come with the framework."""

from __future__ import annotations

from pathlib import Path

RECIPES = Path(__file__).parents[2] / "configs"
QUICKSTART = RECIPES / "quickstart.yaml"
SPIKES = RECIPES / "spikes.yaml"
SPIKES_QUESTION = RECIPES / "spikes_question.yaml"
ALBUMENTATIONS = RECIPES / "augment" / "ssd_albumentations.yaml"
