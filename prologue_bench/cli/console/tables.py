"""Tables on standard output: fitted to a terminal, and one whole row a line anywhere else."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from prologue_bench.cli.console.terminal import raw

UNBOUNDED = 1_000_000
"""Columns that no row fills, so that nothing is cut or wrapped in a file or a pipe."""


class PipedConsole(Console):
    """Leaves it to the program's end what a reader means who leaves a pipe."""

    def on_broken_pipe(self) -> None:
        """Called where the error is handled; rich would end the program by sys.exit here."""
        raise BrokenPipeError


def output() -> Console:
    """Standard output, for texts without markup."""
    return PipedConsole(markup=False, highlight=False, emoji=False, file=raw(sys.stdout))


def new_table() -> Table:
    """A table without lines and header, whose columns are as many as its first row has."""
    return Table(box=None, pad_edge=False, show_header=False)


def print_table(table: Table) -> None:
    """Print a table; each row is one line where no terminal shows it."""
    if not table.row_count:
        return
    console = output()
    if console.is_terminal:
        console.print(table)
        return
    console.width = UNBOUNDED
    with console.capture() as shown:
        console.print(table)
    for line in shown.get().splitlines():  # rich fills up the last column
        console.file.write(line.rstrip() + "\n")
