"""The command line of a command: flags of its own, and a flag for every setting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from ssd.common.errors import UserError
from ssd.common.untrusted import is_unicode
from ssd.config import Config
from ssd.config.completion import complete, is_asked
from ssd.config.help import help_text, setting_values, used_settings
from ssd.config.recipes import find_recipe
from ssd.config.settings import (
    SECTIONS,
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
        self._lists: set[str] = set()  # the flags that take several values
        self._switches: set[str] = set()  # the flags that take none
        self._sections: set[str] = set()  # the flags with the name of a section of the config
        self._own: list[tuple[str, str, str]] = []  # name, value in the help, meaning
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
        if flag.removeprefix("--") in SECTIONS:
            self._sections.add(flag)
            names = [f"--own_{flag[2:]}"]
        if kind is bool:
            self._parser.add_argument(*names, action="store_true")
            self._switches.update(names)
        else:
            self._parser.add_argument(*names, type=kind, **more)
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
            words = with_quoted_names(self._renamed(self._in_order(arguments)))
            given = self._parser.parse_args(words, defaults=False)
        except ArgumentError as error:
            message = explained(error, typed_settings(arguments))
            if unknown := re.search(r"unrecognized arguments: --([\w.-]+)", message):
                message += suggestion(unknown[1])
            if own := re.search(r'key "(\w+)".*Expected a <class.*Got value: (.*)', message):
                flag = own[1].replace("_", "-")
                message = f"--{flag} has {own[2]}, but has to be a number"
            raise UserError(message) from error
        if not is_unicode(given.get("out") or ""):
            raise UserError(f"--out is {given['out']!r}, which is not UTF-8: give another name")
        return given

    def _renamed(self, words: Sequence[str]) -> list[str]:
        """The words with the flags that have the name of a section as the parser knows them."""
        return [
            f"--own_{word[2:]}" if word.partition("=")[0] in self._sections else word
            for word in words
        ]

    def _in_order(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with those without dashes first: argparse takes them only in one piece."""
        plain, flags, words = [], [], list(arguments)
        while words:
            word = words.pop(0)
            if word == "--":
                plain += words
                break
            if not word.startswith("--"):
                plain.append(word)
                continue
            flags.append(word)
            if "=" not in word and word not in self._switches:
                if not words or words[0].startswith("--"):
                    raise UserError(f"{word} has no value: give one")
                flags.append(words.pop(0))
                while word in self._lists and words and not words[0].startswith("--"):
                    flags.append(words.pop(0))
        return [*plain, *flags]


def with_quoted_names(words: Sequence[str]) -> list[str]:
    """A command line with the names of `data.classes` in quotes, so that none becomes a number."""
    flag = "--data.classes"
    return [
        f"{flag}={quoted_names(word[len(flag) + 1 :])}"
        if word.startswith(f"{flag}=")
        else quoted_names(word)
        if before == flag
        else word
        for before, word in zip(["", *words], words, strict=False)
    ]


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
