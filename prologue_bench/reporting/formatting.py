"""Numbers and text as reports and tables show them, and the templates' environment."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from prologue_bench.reporting.results import flat_settings


def escape_markdown(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def number(value: float) -> str:
    """Four significant digits, never in scientific notation for usual sizes."""
    return f"{value:.4g}" if abs(value) < 10000 else f"{value:,.0f}"


def short(value: float) -> str:
    """Two significant digits for spreads and intervals, never in scientific notation for usual sizes."""
    return f"{value:.2g}" if abs(value) < 100 else f"{value:,.0f}"


def signed(value: float) -> str:
    """A difference with its sign and a true minus, never in scientific notation for usual sizes."""
    size = f"{abs(value):.3g}" if abs(value) < 1000 else f"{abs(value):,.0f}"
    return f"{'−' if value < 0 else '+'}{size}"


def plain(value: Any) -> str:
    """A setting's value; a dash for none."""
    return "–" if value is None else str(value)


def setting_text(settings: Mapping[str, Any]) -> str:
    """Settings by their last names, such as "temperature 0.9, scale 2.0"."""
    return ", ".join(f"{name.rpartition('.')[2]} {plain(value)}" for name, value in settings.items())


@cache
def environment() -> Environment:
    """The environment of all templates; what they show is escaped for HTML."""
    found = Environment(
        loader=PackageLoader("prologue_bench.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(number=number, short=short, signed=signed, plain=plain)
    found.filters.update(markdown=lambda text: Markup(escape_markdown(text)), flat_settings=flat_settings)
    return found
