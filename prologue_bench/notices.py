"""Lines to whoever watches a command, on its standard error.

They say what was found damaged, and what is done about it.
"""

from __future__ import annotations

import click


def notice(text: str) -> None:
    """Say something in one line; a live display keeps it above itself."""
    click.echo(f"prologue-bench: {text}", err=True)
