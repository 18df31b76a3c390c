"""Checks settings against their limits; an error is one sentence."""

from __future__ import annotations

from ssd.common.errors import UserError

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
        lowest = "above 0" if low == SMALLEST else f"at least {low:g}"
        rule = lowest if high == LARGEST else f"{lowest} and at most {high:g}"
        fits = value is None or isinstance(value, str) or low <= value <= high
        require(fits, f"{section}.{name}", value, rule)
