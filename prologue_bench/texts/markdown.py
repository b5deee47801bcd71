"""What others wrote, as Markdown that shows as it is."""

from __future__ import annotations

import re

from prologue_bench.texts.lines import one_line

SPECIAL = re.compile(r"[\\`*#\[\]|{}&<~$]|(?<![^\W_])_|_(?![^\W_])|^[-+](?=[\s-]|$)|^[>=]")
"""What begins code, emphasis, a link, a cell, an attribute, HTML or a formula, and at the start a
list or a heading."""
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
