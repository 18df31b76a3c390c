"""Completion of the command line in the shell, by argcomplete.

The shell starts `ssd` without arguments and passes the line typed so far in the environment. Each
completion ends the process.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NoReturn

from ssd.config.recipes import recipes


def is_asked() -> bool:
    """Returns whether the shell asks for a completion."""
    return "_ARGCOMPLETE" in os.environ


def command_on_line(commands: Sequence[str]) -> str:
    """The command that the line names; completes the name itself if the cursor is still there."""
    line = os.environ["COMP_LINE"].encode()[: int(os.environ["COMP_POINT"])].decode()
    words = f"{line}|".split()  # the bar stands for the end of the word at the cursor
    if len(words) < 3 or words[1] not in commands:
        complete([("command", "|".join(commands))])
    os.environ["_ARGCOMPLETE"] = "2"  # `ssd` and the command's name are not its arguments
    return words[1]


def complete(arguments: Iterable[tuple[str, str]]) -> NoReturn:
    """Completes the word at the cursor.

    Args:
        arguments: (name, value) of each flag or argument, both as in the help; the words in small
            letters are values that it takes, such as `auto` in `auto|CHECKPOINT`. A switch has an
            empty one.
    """
    try:
        import argcomplete
    except ImportError:  # the shell asks for it, but this environment lacks it
        raise SystemExit(1) from None
    parser = argparse.ArgumentParser(add_help=False)
    for name, value in arguments:
        if not value:
            parser.add_argument(name, action="store_true")
            continue
        words = [word for word in value.split("|") if word.islower()]
        if value.startswith("RECIPE"):
            words += recipes()
        argument: Any = parser.add_argument(name, nargs=None if name.startswith("-") else "*")
        argument.completer = partial(_beginning, words)
    argcomplete.autocomplete(parser)
    raise SystemExit(0)


def _beginning(words: Sequence[str], prefix: str, **_: object) -> list[str]:
    return [word for word in words if word.startswith(prefix)]
