"""The help of a command: its usage, its flags, and the settings that it uses.

The text of a setting is the docstring below its field in `ssd.config`.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from ssd.config import Config

WIDTH = 100
INDENT = 6
IN_WORDS = {
    **{bool: "true or false", int: "a whole number", float: "a number", str: "a text"},
    NoneType: "null",
}
PLACEHOLDERS = {bool: "true|false", int: "N", float: "X", str: "TEXT"}


def help_text(
    usage: str,
    description: str,
    flags: Sequence[tuple[str, str]],
    used: Sequence[str],
    common: Sequence[str],
    whole: bool,
) -> str:
    """The whole text.

    Args:
        usage: how the command is called.
        description: what it does, with examples; its line breaks stay.
        flags: (flag, meaning) of those that are no settings.
        used: the settings that the command uses, as `section` or `section.key`.
        common: those among them that stand in the short form.
        whole: whether to show all of them.
    """
    names = used_settings(used)
    shown = names if whole else [name for name in common if name in names]
    parts = [f"usage: {usage}", "", description.strip()]
    if flags:
        parts += ["", "flags:", *(entry(flag, meaning) for flag, meaning in flags)]
    if shown:
        title = "settings:" if len(shown) == len(names) else "the settings used most:"
        parts += ["", title, *(setting_entry(name, whole) for name in shown)]
    if shown:
        parts += ["", "A recipe sets some of them otherwise: see `ssd recipes RECIPE`."]
    if len(shown) < len(names):
        command = " ".join(usage.split()[:2])
        parts += [f"`{command} --help all` shows all {len(names)} settings."]
    return "\n".join(parts)


def setting_names() -> list[str]:
    """Every setting as `section.key`, in the order of the config."""
    config = Config()
    return [f"{s.name}.{f.name}" for s in fields(config) for f in fields(getattr(config, s.name))]


def used_settings(used: Sequence[str]) -> list[str]:
    """The settings among those that `used` names, by `section` or `section.key`."""
    return [name for name in setting_names() if name in used or name.split(".")[0] in used]


def entry(flag: str, meaning: str) -> str:
    """A flag, and below it what it means."""
    indent = " " * INDENT
    return f"  {flag}\n" + textwrap.fill(
        " ".join(meaning.split()), WIDTH, initial_indent=indent, subsequent_indent=indent
    )


def setting_entry(name: str, whole: bool) -> str:
    """The entry of a setting, with its default; in short form its first sentence."""
    section, key = name.split(".")
    kind = type(getattr(Config(), section))
    meaning = " ".join(docs_of(kind)[key].split())
    if not whole:
        meaning = first_sentence(meaning)
    default = getattr(getattr(Config(), section), key)
    written = yaml.safe_dump(default, default_flow_style=True, width=1000).split("\n")[0]
    return entry(f"--{name} {setting_values(name)}", f"{meaning} (default: {written})")


def first_sentence(text: str) -> str:
    """The text up to its first full stop; one that follows a colon belongs to it."""
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]


def docs_of(kind: type) -> dict[str, str]:
    """The docstrings below the fields of a dataclass, by the field's name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    return dict(_documented(body))


def _documented(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, after in zip(body, body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            yield field.target.id, str(after.value.value)


def rule_of(name: str) -> str:
    """The rule for the value of a setting, in words."""
    if name == "model.input_size":
        return "a whole number or [height, width]"
    section, key = name.split(".")
    return _in_words(get_type_hints(type(getattr(Config(), section)))[key])


def setting_values(name: str) -> str:
    """The values of a setting, as they are written on a command line: `auto|fp32|N|null`."""
    section, key = name.split(".")
    return placeholder(get_type_hints(type(getattr(Config(), section)))[key])


def _in_words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        names = get_args(hint)
        return f"one of {', '.join(names)}" if len(names) > 1 else names[0]
    if get_origin(hint) is list:
        return f"a list such as {placeholder(hint)}"
    if parts := get_args(hint):
        return " or ".join(map(_in_words, parts))
    return IN_WORDS[hint]


def placeholder(hint: Any) -> str:
    """A value of a type, as it is written on a command line."""
    if get_origin(hint) is Literal:
        return "|".join(get_args(hint))
    if get_origin(hint) is list:
        return f"[{placeholder(get_args(hint)[0])}, …]"
    if parts := get_args(hint):
        return "|".join("null" if part is NoneType else placeholder(part) for part in parts)
    return PLACEHOLDERS[hint]
