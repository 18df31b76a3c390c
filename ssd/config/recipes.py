"""The recipes: the configs that come with the framework."""

from __future__ import annotations

import difflib
from pathlib import Path

from ssd.common.errors import UserError

# In a wheel the recipes lie in the package; in a clone, which has only one copy of them, they are
# in configs/ at the top.
_INSTALLED, _CLONED = (
    Path(__file__).parents[up] / name for up, name in ((1, "recipes"), (2, "configs"))
)
RECIPES = _INSTALLED if _INSTALLED.is_dir() else _CLONED
QUICKSTART = RECIPES / "quickstart.yaml"
OWN_DATA = RECIPES / "custom_voc.yaml"
SPIKES = RECIPES / "spikes.yaml"
SPIKES_QUESTION = RECIPES / "spikes_question.yaml"
ALBUMENTATIONS = RECIPES / "augment" / "ssd_albumentations.yaml"


def recipes() -> dict[str, Path]:
    """All recipes by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}


def find_recipe(given: str | Path) -> Path:
    """The YAML file that `given` means: a file, or a recipe by its name.

    `configs/NAME.yaml` means the recipe too, so that commands written for a clone work anywhere.

    Raises:
        UserError: there is neither.
    """
    path = Path(given).expanduser()
    if path.exists() and not path.is_dir():
        return path
    known = recipes()
    is_name = path.name == str(given) or path.parent.name == "configs"
    if is_name and path.suffix in ("", ".yaml") and path.stem in known:
        return known[path.stem]
    if path.is_dir():
        raise UserError(f"{given} is a folder, but has to be a recipe: --data.root names the data")
    close = difflib.get_close_matches(path.stem, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"the recipes are {', '.join(known)}"
    raise UserError(f"there is no file, folder or recipe {given}: {hint}")
