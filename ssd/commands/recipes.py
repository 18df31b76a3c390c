"""`ssd recipes`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ssd.config.flags import CommandLine
from ssd.config.recipes import find_recipe, recipes

USAGE = "ssd recipes [RECIPE]"
DESCRIPTION = """
Lists the configs that come with the framework, or prints one of them.

    ssd recipes
    ssd recipes custom_voc > mine.yaml

`ssd train RECIPE` trains by a recipe, `ssd train RECIPE mine.yaml` with changes of your own.
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION)
    line.add("name", "RECIPE", "a recipe to print", nargs="?")
    name = line.parse(arguments).get("name")
    if name is not None:
        print(find_recipe(name).read_text(encoding="utf-8"), end="")
        return 0
    found = recipes()
    width = 2 + max(map(len, found))
    for recipe, path in found.items():
        print(f"{recipe:<{width}}{summary(path)}")
    return 0


def summary(path: Path) -> str:
    """The first sentence of a recipe's comment."""
    words = " ".join(comment_lines(path))
    return words.split(". ")[0].rstrip(".")


def comment_lines(path: Path) -> Iterator[str]:
    """The lines of the comment that a recipe starts with."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        yield line.lstrip("# ")
