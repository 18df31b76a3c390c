"""YAML files and overrides → a checked Config, and back."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import LONGEST_NAME, is_unicode, short
from ssd.config import Config, DataConfig
from ssd.config.data import AUTO
from ssd.config.help import rule_of
from ssd.config.limits import written

Settings = dict[str, Any]
Flat = Mapping[str, Any]

LONGEST_ERROR = 500
LONGEST_NUMBER = 40  # characters
NAMES = ("classes", "names")  # keys of lists of class names, here and in YOLO's data.yaml
LONGEST_LIST = 1000  # the parser's time grows with the square of it

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
        put_over(merged, read_yaml(Path(file)))
    put_over(merged, overrides or {})
    return to_config(merged)


def to_config(settings: Settings) -> Config:
    """The Config that nested settings stand for; what they leave out has its default.

    Raises:
        UserError: a setting is unknown, of a wrong type, or out of range.
    """
    for section, key in setting_names(settings):
        name = f"{section}.{key}"[:LONGEST_NAME]
        if name not in SETTING_NAMES:
            raise UserError(f"there is no setting {name}{suggestion(name)}")
        value = settings[section][key]
        if value == "" or (value is None and name not in OPTIONAL):
            raise UserError(f"{name} is empty: give it a value, or leave it out for its default")
        if isinstance(value, list) and len(value) > LONGEST_LIST and name != "data.classes":
            raise UserError(f"{name} has {len(value)} entries, but may have {LONGEST_LIST}")
    # The parser's time grows with the square of a list's length: DataConfig checks the classes.
    data = {**settings.get("data", {})}
    classes = data.pop("classes", None)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Config)
    try:
        sections = parser.instantiate(parser.parse_object({**settings, "data": data}))
    except ArgumentError as error:
        raise UserError(explained(error, settings)) from error
    config = Config(**sections.as_dict())
    return replace(config, data=replace(config.data, classes=classes))


def explained(error: ArgumentError, settings: Settings) -> str:
    """The parser's error in words about the setting; its own where it names none."""
    message = one_line(error)
    found = re.search(r'key "([\w.]+)"|argument --([\w.]+)', message)
    name = (found[1] or found[2]) if found else ""
    section, _, key = name.partition(".")
    if name not in SETTING_NAMES or key not in settings.get(section, {}):
        return message[:LONGEST_ERROR]
    return f"{name} is {written(settings[section][key])}, but has to be {rule_of(name)}"


def nested(settings: Flat) -> Settings:
    """Settings by section, from `section.key` names or from sections, as in YAML.

    Raises:
        UserError: a name has no section.
    """
    sections: Settings = {}
    for name, value in settings.items():
        section, dot, key = name.partition(".")
        if not dot and not isinstance(value, Mapping):
            raise UserError(f"there is no setting {name}{suggestion(name)}")
        merge(sections, {section: {key: value} if dot else dict(value)})
    return sections


def setting_names(settings: Settings) -> Iterator[tuple[str, str]]:
    """The section and the key of nested settings.

    Raises:
        UserError: a section is none of ours, or a single value.
    """
    for section, content in settings.items():
        if section not in SECTIONS:
            name = str(section)[:LONGEST_NAME]
            close = difflib.get_close_matches(name, SECTIONS, 1)
            if close and isinstance(content, dict):
                raise UserError(f"there is no section {name}: did you mean {close[0]}?")
            raise UserError(f"there is no setting {name}{suggestion(name)}")
        if not isinstance(content, dict):
            raise UserError(f"{section} is {written(content)}, but has to hold settings of its own")
        yield from ((section, key) for key in content)


def suggestion(name: str) -> str:
    """`: did you mean …?` with the closest setting, or a hint where all of them stand."""
    if name in SETTING_NAMES:
        return ": in YAML, write it inside its section: {}: {{{}: …}}".format(*name.split("."))
    key = name.split(".")[-1].replace("-", "_")
    close = [setting for setting in SETTING_NAMES if setting.endswith(f".{key}")]
    close += difflib.get_close_matches(name, SETTING_NAMES, 1, cutoff=0.7)
    keys = {setting.split(".")[1]: setting for setting in reversed(SETTING_NAMES)}
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
        content = load_yaml(text)
    except ValueError as error:
        raise UserError(f"{origin} is not YAML: {one_line(error)[:LONGEST_ERROR]}") from error
    if not isinstance(content, dict):
        raise UserError(f"{origin} has to hold sections such as `data:` and `model:`")
    return {section: {} if value is None else value for section, value in content.items()}


def load_yaml(text: str) -> Any:
    """The content of a YAML text.

    Raises:
        ValueError: it is not YAML, sets a key twice, or uses aliases, which turn a few lines into
            gigabytes.
    """
    try:
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f": see line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or error.context}{line}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(one_line(error)) from error
    except (AttributeError, LookupError, OverflowError, ValueError) as error:  # `!!int ''`, …
        raise ValueError("a value does not fit its tag") from error


def quoted_names(text: str) -> str:
    """A list of names on a command line with each of them in quotes; any other text as it is."""
    try:
        names = load_yaml(f"{NAMES[0]}: {text}")[NAMES[0]]
    except ValueError:
        return text
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return json.dumps(names) if listed else text


class _Loader(yaml.SafeLoader):
    # A split may be called 2026-01-01: no setting is a date.
    yaml_implicit_resolvers = {
        first: [each for each in rules if not each[0].endswith(":timestamp")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Refuses what a config cannot mean and Python cannot print: it may come from elsewhere."""
        value, line = super().construct_scalar(node), node.start_mark.line + 1
        if isinstance(value, str) and not is_unicode(value):
            raise yaml.YAMLError(f"half of a surrogate pair: see line {line}")
        if node.tag.endswith((":int", ":float")) and len(node.value) > LONGEST_NUMBER:
            raise yaml.YAMLError(f"a number of more than {LONGEST_NUMBER} digits: see line {line}")
        return value

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuses aliases."""
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"aliases such as *name are not supported: see line {line}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuses a key that comes twice, and takes the names of classes as they are written.

        In YAML, `[yes, no]` are truth values and `[0, 1]` numbers.
        """
        for key, value in node.value:
            if key.value in NAMES and not isinstance(value, yaml.ScalarNode):
                pairs = [item if isinstance(item, tuple) else (None, item) for item in value.value]
                for _, name in pairs:
                    if isinstance(name, yaml.ScalarNode):
                        name.tag = "tag:yaml.org,2002:str"
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key, count in Counter(keys).items() if count > 1]:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"{short(twice[0])} is set twice: see line {line} and below")
        return super().construct_mapping(node, deep)


def merge(into: Settings, new: Settings) -> None:
    """Puts the settings of `new` over those of `into`, section by section."""
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def put_over(into: Settings, new: Settings) -> None:
    """Puts the settings of one source, such as a file, over those of earlier ones.

    Shapes are drawn only where that is the default or asked for: a `data.root` that comes without
    a format is searched for data, so that nothing is drawn into a folder with a typo in its name.
    """
    merge(into, new)
    own, default = new.get("data"), DataConfig()
    if not isinstance(own, dict) or "format" in own or own.get("root") in (None, default.root):
        return
    if into["data"].get("format", default.format) == "shapes":
        into["data"] = {**into["data"], "format": AUTO}


def to_yaml(config: Config) -> str:
    """The whole config as YAML, which reads back as the same config."""
    return str(yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))


def same_results(one: Config, other: Config) -> bool:
    """Returns whether two configs give equal runs: they differ at most in how images are read."""
    reading = {name: getattr(one.data, name) for name in ("workers", "cache", "cache_gb")}
    return one == replace(other, data=replace(other.data, **reading))
