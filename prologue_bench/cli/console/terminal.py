"""What reaches the terminal: the program's own colours, and everybody's text as text.

Names, titles and reasons come from files of others. Control characters in them could move the
cursor, hide lines or set the terminal's title, and marks of writing direction could turn a line
around. They are shown as escapes.
"""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from prologue_bench.texts.lines import one_line, plain_text

STYLES = {"bold": 1, "red": 31, "green": 32, "yellow": 33}
MARKS = 0xF1000
"""The first of some private characters that stand for the styles until they reach a terminal; it
ends them."""


def style(text: str, name: str) -> str:
    """The text in one of STYLES, where it reaches a terminal."""
    return f"{chr(MARKS + STYLES[name])}{text}{chr(MARKS)}"


class _Guarded:
    """A stream that lets text through, and escapes the rest.

    A carriage return may begin what is written at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        start = "\r" if text.startswith("\r") else ""
        self.stream.write(start + _styled(plain_text(text[len(start) :]), self.stream.isatty()))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __iter__(self) -> Iterator[str]:
        return iter(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _styled(text: str, is_terminal: bool) -> str:
    for code in (0, *STYLES.values()):
        text = text.replace(chr(MARKS + code), f"\x1b[{code}m" if is_terminal else "")
    return text


def _write_utf8(stream: TextIO | None) -> None:
    """Have a stream of ASCII take all text, as click does, which else writes past the guard."""
    encoding = getattr(stream, "encoding", None)
    if (
        isinstance(stream, io.TextIOWrapper)
        and encoding
        and codecs.lookup(encoding).name == "ascii"
    ):
        stream.reconfigure(encoding="utf-8")


def raw(stream: TextIO) -> TextIO:
    """The stream itself, for those that write their own codes and texts through `plain_text`."""
    return stream.stream if isinstance(stream, _Guarded) else stream


def say_at_once(text: str) -> None:
    """Show who waits at a terminal, before anything slow is imported, what is going on."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(one_line(text), file=sys.stderr, flush=True)


@contextmanager
def guarded() -> Iterator[None]:
    """Let only text and the program's own colours reach standard output and errors."""
    before = sys.stdout, sys.stderr
    for each in before:
        _write_utf8(raw(each))
    sys.stdout, sys.stderr = (
        cast("TextIO", _Guarded(raw(each))) if each is not None else each for each in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
