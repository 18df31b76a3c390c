"""Renders templates into pages that need no network, script or other file; formats numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssd.common.files import write_whole
from ssd.report import plots

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent


def write_page(
    path: Path,
    template: Path,
    figures: Mapping[str, Figure],
    slim: Mapping[str, Figure] | None = None,
    **values: Any,
) -> Path:
    """Renders a template into `path`, whole or not at all, and returns `path`.

    The template may build on those of this folder. `figures` reach it as SVG that is safe to put
    into the page; those of `slim` take the place of those with the same name on a narrow screen.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "count": count,
        "text": text,
        "number": number,
        "times": times,
    }
    narrow = slim or {}
    drawn = {name: _drawn(name, figure, narrow.get(name)) for name, figure in figures.items()}
    write_whole(path, environment.get_template(template.name).render(figures=drawn, **values))
    return path


def _drawn(name: str, figure: Figure, slim: Figure | None) -> Markup:
    """The figure as SVG, with the one for narrow screens if there is one."""
    from markupsafe import Markup

    svg = plots.to_svg(figure, name)
    if slim is None:
        return Markup(svg)
    narrow = plots.to_svg(slim, f"{name}-slim")
    return Markup(f'<div class="broad">{svg}</div><div class="slim">{narrow}</div>')


def is_number(value: Any) -> bool:
    """Returns whether `value` is a finite number and not a bool."""
    return type(value) in (int, float) and math.isfinite(value)


def percent(value: Any) -> str:
    """Formats 0.625 as "62.5 %" and anything but a finite number as "–"."""
    return f"{100 * value:.1f} %" if is_number(value) else "–"


def count(value: Any) -> str:
    """Formats 1234 as "1 234" with a narrow space, and anything but a finite number as "–"."""
    return (
        f"{round(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if is_number(value) else "–"
    )


def number(value: Any) -> str:
    """Keeps two significant digits: 0.0000021 → "2.1e-06", anything but a finite number → "–"."""
    return f"{value:.2g}" if is_number(value) else "–"


def times(value: Any) -> str:
    """Formats a factor: 3.92 → "3.92×", 15.31 → "15.3×", 12345 → "1.2e+04×", no number → "–"."""
    if not is_number(value):
        return "–"
    if abs(value) >= 1000:
        return f"{number(value)}×"
    return f"{value:.{1 if abs(value) >= 9.995 else 2}f}×"


def text(value: Any) -> str:
    """A string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
