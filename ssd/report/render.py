"""Templates → pages that need no network, no script and no other file; how figures are written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssd.common.files import write_whole
from ssd.report import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent


def write_page(path: Path, template: Path, figures: Mapping[str, Figure], **values: Any) -> Path:
    """Renders a template into `path`, whole or not at all, and returns `path`.

    The template may build on those of this folder.

    `figures` reach the template as SVG that is safe to put into the page.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

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
    drawn = {name: Markup(plots.to_svg(figure, name)) for name, figure in figures.items()}
    write_whole(path, environment.get_template(template.name).render(figures=drawn, **values))
    return path


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and no truth value."""
    return type(value) in (int, float) and math.isfinite(value)


def percent(value: Any) -> str:
    """0.625 → "62.5 %", what is no number → "–"."""
    return f"{100 * value:.1f} %" if is_number(value) else "–"


def count(value: Any) -> str:
    """1234 → "1 234" with a narrow space, what is no number → "–"."""
    return (
        f"{round(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if is_number(value) else "–"
    )


def number(value: Any) -> str:
    """Two digits that count, 0.0000021 → "2.1e-06", what is no number → "–"."""
    return f"{value:.2g}" if is_number(value) else "–"


def times(value: Any) -> str:
    """3.92 → "3.92×", 15.31 → "15.3×", 12345 → "1.2e+04×", what is no number → "–"."""
    if not is_number(value):
        return "–"
    if abs(value) >= 1000:
        return f"{number(value)}×"
    return f"{value:.{1 if abs(value) >= 9.995 else 2}f}×"


def text(value: Any) -> str:
    """A string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
