"""YAML files and overrides → a checked Config, and back."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ssd.config import Config
from ssd.errors import UserError, one_line

Settings = dict[str, Any]

SECTIONS = tuple(field.name for field in fields(Config))
SETTING_NAMES = tuple(
    f"{section}.{field.name}"
    for section in SECTIONS
    for field in fields(getattr(Config(), section))
)

OPTIONAL = {
    f"{section}.{field.name}"
    for section in SECTIONS
    for field in fields(getattr(Config(), section))
    if "None" in str(field.type)
}


def read_config(files: Sequence[str | Path], overrides: Settings | None = None) -> Config:
    """The settings of YAML files, later ones winning, and of `overrides`, which win over all.

    Raises:
        UserError: a file cannot be read, or a setting is unknown or impossible.
    """
    merged: Settings = {}
    for file in files:
        merge(merged, read_yaml(Path(file)))
    merge(merged, overrides or {})
    return to_config(merged)


def to_config(settings: Settings) -> Config:
    """The Config that nested settings stand for; what they leave out has its default.

    Raises:
        UserError: a setting is unknown, of a wrong type, or out of range.
    """
    for name in setting_names(settings):
        if name not in SETTING_NAMES:
            raise UserError(f"there is no setting {name}{suggestion(name)}")
        section, key = name.split(".")
        if settings[section][key] is None and name not in OPTIONAL:
            raise UserError(f"{name} is empty: give it a value, or leave it out for its default")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Config)
    try:
        sections = parser.instantiate(parser.parse_object(settings))
    except ArgumentError as error:
        raise UserError(one_line(error)) from error
    return Config(**sections.as_dict())


def setting_names(settings: Settings) -> Iterator[str]:
    """The dotted names of nested settings.

    Raises:
        UserError: what should be a section is a single value.
    """
    for section, content in settings.items():
        if section in SECTIONS and not isinstance(content, dict):
            raise UserError(f"{section} is {content!r}, but has to hold settings of its own")
        names = (f"{section}.{key}" for key in content) if section in SECTIONS else (str(section),)
        yield from names


def suggestion(name: str) -> str:
    """`: did you mean …?` with the closest setting, or a hint where all of them stand."""
    key = name.split(".")[-1]
    close = [setting for setting in SETTING_NAMES if setting.endswith(f".{key}")]
    close += difflib.get_close_matches(name, SETTING_NAMES, 1, cutoff=0.7)
    keys = {setting.split(".")[1]: setting for setting in SETTING_NAMES}
    close += [keys[match] for match in difflib.get_close_matches(key, keys, 1)]
    return f": did you mean {close[0]}?" if close else ": --help lists all of them"


def read_yaml(path: Path) -> Settings:
    """The sections of a YAML file.

    Raises:
        UserError: it cannot be read, or is not a mapping of sections.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the config {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, origin: str) -> Settings:
    """The sections of a YAML text; `origin` names it in errors.

    Raises:
        UserError: it is not YAML, or not a mapping of sections.
    """
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{origin} is not YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{origin} has to hold sections such as `data:` and `model:`")
    return content


def merge(into: Settings, new: Settings) -> None:
    """Puts the settings of `new` over those of `into`, section by section."""
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def to_yaml(config: Config) -> str:
    """The whole config as YAML, which reads back as the same config."""
    return str(yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))
