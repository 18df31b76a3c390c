"""Checks settings against their limits; an error is one sentence."""

from __future__ import annotations

import json

from ssd.common.errors import UserError
from ssd.common.untrusted import short

SMALLEST = 1e-12
LARGEST = 2**62
LONGEST_VALUE = 200


def require(holds: bool, setting: str, value: object, rule: str) -> None:
    """Raises a UserError with the setting, its value and the rule, unless the rule holds."""
    if not holds:
        raise UserError(f"{setting} is {str(value)[:LONGEST_VALUE]}, but has to be {rule}")


def check_limits(section: str, settings: object, **limits: tuple[float, float]) -> None:
    """Raises a UserError for a number outside its limits, which are inclusive.

    None and words such as `auto` pass.
    """
    for name, (low, high) in limits.items():
        value = getattr(settings, name)
        rule = "above 0" if low == SMALLEST else f"at least {low:g}"
        too_high = isinstance(value, int | float) and value > high
        if high != LARGEST or too_high:  # nobody comes near that one
            rule += f" and at most {high:g}"
        fits = value is None or isinstance(value, str) or low <= value <= high
        require(fits, f"{section}.{name}", value, rule)


def written(value: object) -> str:
    """One line that shows a value as it stands in YAML, shortened if it is long."""
    return json.dumps(value) if value is None or isinstance(value, bool) else short(value)
