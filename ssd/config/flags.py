"""The command line of a command: flags of its own, and a flag for every setting."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from ssd.common.errors import UserError
from ssd.common.untrusted import is_unicode
from ssd.config import Config
from ssd.config.completion import complete, is_asked
from ssd.config.help import IN_WORDS, help_text, setting_values, used_settings
from ssd.config.recipes import find_recipe
from ssd.config.settings import (
    SECTIONS,
    SETTING_NAMES,
    Settings,
    explained,
    nested,
    quoted_names,
    read_config,
    suggestion,
)

HELP = ("-h", "--help")
CHECKPOINT_FLAG = (
    "which checkpoint of the run: the one with the best mAP, the newest, or that of a step "
    "(default: best, or last where none was evaluated)"
)


class CommandLine:
    """The flags of a command, its settings among them.

    Args:
        usage: how the command is called, from `ssd` on.
        description: what it does, with examples; `--help` prints it as it is.
        used: the settings that the command uses, as `section` or `section.key`; `--help` shows no
            others.
        common: those among them that `--help` shows first.
    """

    def __init__(
        self, usage: str, description: str, used: Sequence[str] = (), common: Sequence[str] = ()
    ) -> None:
        self.usage, self.description = usage, description
        self.used, self.common = used, common
        self._flags = {f"--{name}" for name in SETTING_NAMES} if used else set()
        self._lists: set[str] = set()  # the flags that take several values
        self._switches: set[str] = set()  # the flags that take none
        self._sections: set[str] = set()  # the flags with the name of a section of the config
        self._own: list[tuple[str, str, str]] = []  # name, value in the help, meaning
        self._kinds: dict[str, str] = {}  # what the value of a flag of its own has to be
        name = " ".join(usage.split()[:2])
        self._parser = ArgumentParser(
            prog=name, exit_on_error=False, add_help=False, allow_abbrev=False
        )
        if used:
            self._parser.add_class_arguments(Config)

    def add(self, flag: str, shown: str, meaning: str, kind: Any = str, **more: Any) -> None:
        """Adds a flag, or an argument without dashes.

        Args:
            flag: its name; an old spelling with underscores works too. One with the name of a
                section, such as `--checkpoint`, is found as `own_checkpoint`.
            shown: its value in the help; empty for a switch.
            meaning: its text in the help.
            kind: the type of its value; bool for a switch, which takes none.
            more: of `argparse`, such as `nargs`.
        """
        spellings = dict.fromkeys([flag, "--" + flag[2:].replace("-", "_")])
        names = list(spellings) if flag.startswith("--") else [flag]
        self._flags.update(names)
        if flag.removeprefix("--") in SECTIONS:
            self._sections.add(flag)
            names = [f"--own_{flag[2:]}"]
        if kind is bool:
            self._parser.add_argument(*names, action="store_true")
            self._switches.update(names)
        else:
            self._parser.add_argument(*names, type=kind, **more)
        self._kinds[flag] = IN_WORDS[kind]
        self._own.append((flag, shown, meaning))
        if more.get("nargs") == "+":
            self._lists.update(names)

    def parse(self, arguments: Sequence[str]) -> Namespace:
        """The flags that were given; all others are absent.

        Raises:
            UserError: a flag is unknown or its value is impossible.
            SystemExit: the help was asked for, and has been printed.
        """
        if is_asked():
            settings = [(f"--{name}", setting_values(name)) for name in used_settings(self.used)]
            complete([*((flag, shown) for flag, shown, _ in self._own), *settings])
        if any(word in HELP for word in arguments):
            with_all = ("--help [all]", "show this; with `all`, every setting")
            flags = [
                (f"{flag} {shown}".strip() if flag.startswith("-") else shown, meaning)
                for flag, shown, meaning in self._own
            ]
            flags.append(with_all if self.used else ("--help", "show this"))
            text = self.usage, self.description, flags, self.used, self.common
            print(help_text(*text, whole="all" in arguments))
            raise SystemExit(0)
        try:
            words = with_lists(self._renamed(self._in_order(arguments)))
            given = self._parser.parse_args(words, defaults=False)
        except ArgumentError as error:
            raise UserError(self._explained(error, arguments)) from error
        if not is_unicode(given.get("out") or ""):
            raise UserError(f"--out is {given['out']!r}, which is not UTF-8: give another name")
        return given

    def _renamed(self, words: Sequence[str]) -> list[str]:
        """The words with the flags that have the name of a section as the parser knows them."""
        return [
            f"--own_{word[2:]}" if word.partition("=")[0] in self._sections else word
            for word in words
        ]

    def _explained(self, error: ArgumentError, arguments: Sequence[str]) -> str:
        """The parser's error in words about the flag that is wrong."""
        message = explained(error, typed_settings(arguments))
        if more := re.search(r"unrecognized arguments: (.*)", message):
            return f"{more[1]} is more than the command takes: {self.usage}"
        if own := re.search(r'key "(\w+)".*Got value: (.*)', message):
            flag = f"--{own[1].replace('_', '-')}"
            return f"{flag} is {own[2]}, but has to be {self._kinds[flag]}"
        return message

    def _in_order(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with those without dashes last: argparse takes them only in one piece.

        Raises:
            UserError: a flag is unknown, has no value, or takes none.
        """
        plain, flags, words = [], [], list(arguments)
        while words:
            word = words.pop(0)
            if word == "--":
                plain += words
                break
            if not word.startswith("-") or word == "-":  # a dash alone is standard input
                plain.append(word)
                continue
            flags.append(word)
            flag, equals, value = word.partition("=")
            self._check_flag(flag)
            if flag in self._switches:
                if equals:
                    raise UserError(f"{flag} takes no value: leave {equals}{value} out")
                continue
            if not equals:
                value = words.pop(0) if words and not words[0].startswith("--") else ""
                flags.append(value)
            if not value:
                raise UserError(f"{flag} has no value: give one")
            while not equals and flag in self._lists and words and not words[0].startswith("--"):
                flags.append(words.pop(0))
        return [*flags, "--", *plain]

    def _check_flag(self, flag: str) -> None:
        """Raises a UserError if the command has no such flag."""
        name = flag.removeprefix("--")
        if flag in self._flags:
            return
        if name in SETTING_NAMES:
            raise UserError(f"{self._parser.prog} takes no settings: leave {flag} out")
        if name in SECTIONS and self.used:
            raise UserError(f"{flag} is a section: give its settings one by one, as {flag}.KEY")
        close = difflib.get_close_matches(flag, self._flags, 1, cutoff=0.8)
        hint = f": did you mean {close[0]}?" if close else suggestion(name)
        raise UserError(f"there is no flag {flag}{hint}")


def with_lists(words: Sequence[str]) -> list[str]:
    """A command line with its lists as the parser reads them.

    The names of `data.classes` stand in quotes, so that none becomes a number, and an input size of
    256x512 is [256, 512].
    """
    read = {
        "--data.classes": quoted_names,
        "--model.input_size": two_sides,
    }
    changed = []
    for before, word in zip(["", *words], words, strict=False):
        flag, equals, value = word.partition("=")
        if before in read:
            changed.append(read[before](word))
        elif equals and flag in read:
            changed.append(f"{flag}={read[flag](value)}")
        else:
            changed.append(word)
    return changed


def two_sides(text: str) -> str:
    """An input size of 256x512 as a list; any other text as it is."""
    return re.sub(r"^(\d+)x(\d+)$", r"[\1, \2]", text)


def typed_settings(arguments: Sequence[str]) -> Settings:
    """The settings among the words of a command line, as they were typed."""
    words = list(arguments)
    found: dict[str, Any] = {}
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and "." in flag:
            found[flag[2:]] = value if equals else " ".join(words[place + 1 : place + 2])
    return nested(found)


def given_settings(flags: Namespace) -> Settings:
    """The settings among the flags that were given."""
    return {name: value for name, value in flags.as_dict().items() if name in SECTIONS}


def config_of(flags: Namespace, files: Sequence[str | Path]) -> Config:
    """The Config from recipes, YAML files and flags; later files win, and the flags over all."""
    return read_config([find_recipe(file) for file in files], given_settings(flags))
