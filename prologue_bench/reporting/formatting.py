"""Numbers and text as reports and tables show them, and the templates' environment."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from prologue_bench.reporting.results import flat_settings
from prologue_bench.reporting.statistics import Difference
from prologue_bench.spec.naming import short_names
from prologue_bench.terminal import one_line

SPECIAL = re.compile(r"[\\`*#\[\]|{}&<~$]|(?<![^\W_])_|_(?![^\W_])|^[-+](?=[\s-]|$)|^[>=]")
"""What begins code, emphasis, a link, a cell, an attribute, HTML or a formula, and at the start a list or a heading."""
NO_ESCAPE = "&<~$-+>="
"""Of these not all dialects of Markdown know an escape, but all know their numbers."""


def markdown_line(text: str) -> str:
    """Text as one line of Markdown that shows as it is: no links, emphasis or HTML of its own.

    >>> print(markdown_line("<b>*1*"))
    &lt;b>\\*1\\*
    """
    line = SPECIAL.sub(lambda found: _escaped(found[0]), one_line(text))
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", line)  # a numbered list


def _escaped(character: str) -> str:
    if character == "<":
        return "&lt;"
    return f"&#{ord(character)};" if character in NO_ESCAPE else f"\\{character}"


def number(value: float, digits: int = 4) -> str:
    """Four significant digits, never in scientific notation for usual sizes."""
    shown = f"{value:.{digits}g}"
    return f"{value:,.0f}" if abs(value) >= 10**digits or "e+" in shown else shown


def short(value: float, digits: int = 2) -> str:
    """Two significant digits for spreads and intervals, never in scientific notation for usual sizes."""
    return number(value, digits)


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign and a true minus, never in scientific notation for usual sizes."""
    return f"{'−' if value < 0 else '+'}{number(abs(value), digits)}"


def plus_minus(mean: float, half_width: float) -> str:
    """A difference with its interval, in so many digits that one sees whether it leaves zero out."""
    for digits in range(2, 16):
        shown, width = signed(mean, digits + 1), short(half_width, digits)
        if (_size(shown) > _size(width)) == (abs(mean) > half_width):
            break
    return f"{shown} ± {width}"


def _size(shown: str) -> float:
    return float(shown.lstrip("+−").replace(",", ""))


def difference_text(found: Difference) -> str:
    """A difference with what is known of its noise."""
    if math.isnan(found.mean):
        return "not a number"
    if found.identical:
        return "= same values"
    if found.constant:
        return f"{signed(found.mean)} in every seed"
    if found.half_width is None:
        return signed(found.mean)
    return plus_minus(found.mean, found.half_width)


def plain(value: Any) -> str:
    """A setting's value; a dash for none."""
    return "–" if value is None else str(value)


def setting_text(settings: Mapping[str, Any]) -> str:
    """Settings by their shortest names that differ, such as "temperature 0.9, scale 2.0"."""
    names = short_names(list(settings))
    return ", ".join(f"{names[key]} {plain(value)}" for key, value in settings.items())


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
    found.filters.update(number=number, short=short, signed=signed, plain=plain, difference=difference_text)
    found.filters.update(markdown=lambda text: Markup(markdown_line(text)), flat_settings=flat_settings)
    return found
