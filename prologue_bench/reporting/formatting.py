"""Numbers and text as reports and tables show them, and the templates' environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from prologue_bench.reporting.verdict import cell_word
from prologue_bench.results.frame import flat_settings
from prologue_bench.results.schema import Settings
from prologue_bench.stats.differences import Cell
from prologue_bench.stats.wording import difference_text, fewer_seeds
from prologue_bench.texts.markdown import markdown_line
from prologue_bench.texts.numbers import number, short, signed, to_digits
from prologue_bench.texts.settings import short_names

WORD_ENDS = re.compile(r"(?<=[=_/])")
"""Behind which browsers do not break a line by themselves."""


def plain(value: object) -> str:
    """A setting's value; a dash for none."""
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {plain(each)}' for name, each in value.items())})"
    return "–" if value is None else str(value)


def setting_text(settings: Settings) -> str:
    """Settings by their shortest names that differ, such as "temperature 0.9, scale 2.0"."""
    names = short_names(list(settings))
    return ", ".join(f"{names[key]} {plain(value)}" for key, value in settings.items())


def mean_text(cell: Cell) -> str:
    """A mean with the digits that the noise of the seeds leaves, or that of images with one."""
    return to_digits(cell.mean, cell.spread if cell.seeds > 1 else cell.half_width)


def unbroken(text: str) -> str:
    """A sentence in which a signed number and its interval stay on the line of what they are of."""
    return re.sub(r"(?<![,;:]) (?=[+−±][\d ])|(?<=±) ", "\N{NO-BREAK SPACE}", text)


def breakable(text: str) -> Markup:
    """A name that may go on in the next line behind each of its words, and nowhere else."""
    return Markup("<wbr>").join(WORD_ENDS.split(text))


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
    found.filters.update(
        number=number, short=short, signed=signed, plain=plain, difference=difference_text
    )
    found.filters.update(mean=mean_text, word=cell_word, breakable=breakable, unbroken=unbroken)
    found.filters.update(fewer_seeds=fewer_seeds)
    found.filters.update(
        markdown=lambda text: Markup(markdown_line(text)), flat_settings=flat_settings
    )
    return found
