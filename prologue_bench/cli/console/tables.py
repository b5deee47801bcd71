"""Tables on standard output: fitted to a terminal, and one whole row a line anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prologue_bench.cli.console.terminal import raw
from prologue_bench.texts.lines import one_line

UNBOUNDED = 1_000_000
"""Columns that no row fills, so that nothing is cut or wrapped in a file or a pipe."""


class PipedConsole(Console):
    """Leaves it to the program's end what a reader means who leaves a pipe."""

    def on_broken_pipe(self) -> None:
        """Called where the error is handled; rich would end the program by sys.exit here."""
        raise BrokenPipeError


def open_console() -> PipedConsole:
    """Standard output for rich. What it prints must be text: see `cell`."""
    return PipedConsole(markup=False, highlight=False, emoji=False, file=raw(sys.stdout))


def cell(text: str, style: str = "") -> Text:
    """Anybody's text on one line, in a style of rich where it reaches a terminal."""
    return Text(one_line(text), style)


def plain_table(texts: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """An empty table without lines; columns of numbers, to the right of texts, end alike."""
    table = Table(box=None, pad_edge=False)
    for name in texts:
        table.add_column(cell(name), overflow="fold")
    for name in numbers:
        table.add_column(cell(name), justify="right", overflow="fold")
    return table


def new_table() -> Table:
    """A table without lines and header, whose columns are as many as its first row has."""
    return Table(box=None, pad_edge=False, show_header=False)


def show(table: Table) -> None:
    """Print a table: on a terminal as wide as that is, elsewhere each row as one line.

    Nothing is cut: what is too wide for a terminal goes on in the next line of its cell.
    """
    if not table.row_count:
        return
    console = open_console()
    if console.is_terminal:
        console.print(table)
        return
    console.width = UNBOUNDED
    with console.capture() as found:
        console.print(table)
    for line in found.get().splitlines():  # rich fills up the last column
        click.echo(line.rstrip())
