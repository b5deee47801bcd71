"""Tables on standard output: fitted to a terminal, and one whole row a line anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prologue_bench.cli.console.terminal import raw
from prologue_bench.texts.lines import one_line


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
    for line in _lines(table):
        click.echo(line)


def _lines(table: Table) -> Iterator[str]:
    """A table as plain text: nothing is wrapped, so rich, which is slow, need not lay it out."""
    columns = []
    for column in table.columns:
        header = (column.header,) if table.show_header else ()
        texts = [str(text) for text in (*header, *column.cells)]
        width = max(map(cell_len, texts))
        blanks = [" " * (width - cell_len(text)) for text in texts]
        is_right = column.justify == "right"
        columns.append(
            [
                blank + text if is_right else text + blank
                for text, blank in zip(texts, blanks, strict=True)
            ]
        )
    for row in zip(*columns, strict=True):
        yield "  ".join(row).rstrip()
