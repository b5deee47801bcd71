"""Lines to whoever watches a command, on its standard error.

They say what was found damaged, and what is done about it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import click

from prologue_bench.guard import short


def notice(text: str) -> None:
    """Say something in one line; a live display keeps it above itself."""
    click.echo(f"prologue-bench: {text}", err=True)


@contextmanager
def warnings_as_notices() -> Iterator[None]:
    """Warnings of plugins and libraries as lines of this program's, each once.

    Python's own way takes two lines, shows code, and goes through a live display."""
    said = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = f"{short(f'{category.__name__}: {message}')} ({Path(filename).name}:{lineno})"
        if text not in said:
            said.add(text)
            with suppress(OSError):  # whoever no longer reads the errors does not miss them
                notice(text)

    before = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
