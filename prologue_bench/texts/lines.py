"""What others wrote, as text: nothing in it acts on a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Control characters but tab and line feed, marks of direction, separators, lone surrogates, and
invisible tags."""


def plain_text(text: str) -> str:
    r"""The text with an escape in place of whatever is no text; lines and tabs stay.

    >>> plain_text("\x1b[2J")
    '\\x1b[2J'
    """
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escaped(text: str) -> str:
    r"""As `plain_text`, with escapes for line breaks and tabs too, as names are shown.

    >>> escaped("a\nb")
    'a\\nb'
    """
    return plain_text(text).replace("\n", r"\n").replace("\t", r"\t")


def joined(texts: Sequence[str]) -> str:
    """Texts with commas between them, and "and" before the last."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def one_line(text: str) -> str:
    """As `plain_text`, with all white space as single blanks."""
    return plain_text(" ".join(text.split()))
