"""Results at the end of a run, on one screen."""

from __future__ import annotations

import click

from prologue_bench.cli.console.tables import cell, plain_table, show
from prologue_bench.cli.console.terminal import style
from prologue_bench.reporting.brief import Brief
from prologue_bench.texts.lines import one_line

COLOURS = {"better": "green", "worse": "red", "collapsed": "yellow"}


def show_brief(brief: Brief, answer_only: bool = False) -> None:
    """Print the answer first, then the table, then what to know about its numbers."""
    if not answer_only:
        click.echo(f"\n{style(one_line(brief.title), 'bold')}")
    first, *more = brief.sentences
    click.echo(style(one_line(first), "bold"))
    for sentence in more:
        click.echo(one_line(sentence))
    if answer_only:
        return
    click.echo()
    table = plain_table(brief.head[:1], brief.head[1:])
    for row in brief.rows:
        table.add_row(
            *(
                cell(each.text, f"{'bold ' * each.best}{COLOURS.get(each.word, '')}".strip())
                for each in row
            )
        )
    show(table)
    click.echo()
    for note in brief.notes:
        click.echo(one_line(note))
