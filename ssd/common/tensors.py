"""The tensors within values of dataclasses, dicts and lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors of a value, in order."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    changed(value, keep)
    return found


def changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same value with every tensor changed, in order."""
    if isinstance(value, Tensor):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        inner = {each.name: changed(getattr(value, each.name), change) for each in fields(value)}
        return replace(value, **inner)
    if isinstance(value, dict):
        return {key: changed(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [changed(item, change) for item in value]
    return value


def tensors_of(item: Any) -> dict[str, Tensor]:
    """The fields of a dataclass that are tensors, by name."""
    values = {each.name: getattr(item, each.name) for each in fields(item)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}
