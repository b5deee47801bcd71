"""How a transfer looks while it goes: a bar on a terminal, a line per artifact elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from prologue_bench.cli.console.terminal import raw
from prologue_bench.storage.remotes.transfer import Exchange, Item, Quiet
from prologue_bench.storage.remotes.transfer import Progress as Watcher
from prologue_bench.texts.lines import one_line

if TYPE_CHECKING:
    from prologue_bench.runs.published import Elsewhere

LINE_EVERY_SECONDS = 30.0


class _Lines(Watcher):
    def __init__(self, exchange: Exchange, done: str) -> None:
        self.total, self.bytes = len(exchange.going), exchange.bytes
        self.done, self.count, self.moved_bytes = done, 0, 0
        self.said = time.monotonic()

    def started(self, item: Item) -> None:
        self.count += 1

    def moved(self, count: int) -> None:
        self.moved_bytes += count
        if time.monotonic() - self.said >= LINE_EVERY_SECONDS:
            self.said = time.monotonic()
            moved = f"{decimal(self.moved_bytes)} of {decimal(self.bytes)}"
            _say(f"[{self.count}/{self.total}] {moved}")

    def finished(self, item: Item) -> None:
        _say(f"[{self.count}/{self.total}] {_label(item)}, {decimal(item.bytes)}: {self.done}")

    def waiting(self, item: Item) -> None:
        _say(f"[{self.count}/{self.total}] {_label(item)}: waits for another process")


class _Bar(Watcher):
    def __init__(self, exchange: Exchange, bars: Progress) -> None:
        self.bars = bars
        self.bar = bars.add_task("", total=exchange.bytes or 1)

    def started(self, item: Item) -> None:
        self.bars.update(self.bar, description=_label(item))

    def moved(self, count: int) -> None:
        self.bars.advance(self.bar, count)

    def finished(self, item: Item) -> None:
        pass

    def waiting(self, item: Item) -> None:
        self.bars.update(self.bar, description=f"{_label(item)}: waits for another process")


@contextmanager
def showing(exchange: Exchange, done: str) -> Iterator[Watcher]:
    """Show a transfer on stderr; `done` is the word for an artifact that has arrived."""
    console = Console(file=raw(sys.stderr))
    if not console.is_terminal or not exchange.going:
        yield _Lines(exchange, done)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Bar(exchange, bars)


@contextmanager
def hidden(exchange: Exchange) -> Iterator[Watcher]:
    """Show nothing of a transfer."""
    yield Quiet()


def elsewhere(url: str | None) -> Elsewhere:
    """Where the models of a run are looked for, with a display of what is fetched."""
    from prologue_bench.runs.published import Elsewhere

    return Elsewhere(url, partial(showing, done="fetched"))


def _label(item: Item) -> str:
    return one_line(f"{item.kind} {item.key}")


def _say(text: str) -> None:
    click.echo(text, err=True)
