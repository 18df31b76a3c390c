"""Defines a flag for every setting, and makes a Config from flags and YAML files."""

from __future__ import annotations

import re
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import (
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

from ssd.common.errors import UserError, one_line
from ssd.config import Config
from ssd.config.settings import SECTIONS, Settings, read_config, suggestion

set_parsing_settings(docstring_parse_attribute_docstrings=True)


def settings_parser(prog: str, usage: str, description: str | None) -> ArgumentParser:
    """A parser with a flag `--section.key` for every setting."""
    parser = ArgumentParser(
        prog=prog,
        usage=usage,
        description=description,
        formatter_class=HelpFormatter,
        exit_on_error=False,
    )
    parser.add_class_arguments(Config)
    return parser


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Shows the default of every flag, and keeps the line breaks of descriptions."""


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parses the flags; settings that were not given are absent from the result.

    Raises:
        UserError: a flag is unknown or its value is impossible.
    """
    try:
        return parser.parse_args(list(arguments), defaults=False)
    except ArgumentError as error:
        message = one_line(error)
        unknown = re.search(r"unrecognized arguments: --([\w.-]+)", message)
        hint = suggestion(unknown[1]) if unknown else ""
        raise UserError(message + hint) from error


def given_settings(flags: Namespace) -> Settings:
    """The settings among the flags that were given."""
    return {name: value for name, value in flags.as_dict().items() if name in SECTIONS}


def config_of(flags: Namespace, files: Sequence[str | Path]) -> Config:
    """The Config from YAML files and flags; the flags win over the files."""
    return read_config(files, given_settings(flags))
