"""The command `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.cli.options import PATH
from prologue_bench.errors import UserError

if TYPE_CHECKING:
    from prologue_bench.reporting.comparison import MetricComparison, Row


@click.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Only this metric, by name or by a pattern such as 'rate*'; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def compare(first: Path, second: Path, metrics: tuple[str, ...], as_json: bool) -> None:
    """Compare the results FIRST and SECOND, for each variant and seed that both have.

    Differences are second minus first. Numbers of different protocols are not subtracted; instead,
    the fields that differ are shown, and whether the numbers rank alike.
    """
    import json
    from fnmatch import fnmatchcase

    from prologue_bench.reporting import comparison
    from prologue_bench.results.caveats import caveats, measurements_of
    from prologue_bench.results.loading import load_numbers
    from prologue_bench.results.protocols import differ_in
    from prologue_bench.results.sources import other_data

    one, other = load_numbers(first), load_numbers(second)
    found = comparison.compare_results(one, other)
    if metrics:
        found = [
            each for each in found if any(fnmatchcase(each.metric, pattern) for pattern in metrics)
        ]
    if not found:
        raise UserError(
            f"{first} and {second} have no variant, seed and metric in common"
            + (f" among {', '.join(metrics)}" if metrics else "")
        )
    if as_json:
        click.echo(json.dumps(comparison.as_json(found), indent=1))
        for note in (other_data(one, other), *comparison.collapse_notes(one, other)):
            if note:
                click.echo(note, err=True)
        return
    _show(found)
    shown = {each.metric for each in found}
    notes = [
        other_data(one, other),
        *comparison.collapse_notes(one, other),
        *(
            f"{each.title}: not subtracted, {differ_in(each.conflict)}."
            for each in found
            if each.conflict
        ),
        *caveats(measurements_of(one), shown),
        *caveats(measurements_of(other), shown),
    ]
    for sentence in dict.fromkeys(filter(None, notes)):
        click.echo(sentence)


def _show(found: Sequence[MetricComparison]) -> None:
    from prologue_bench.cli.console.tables import cell, plain_table, show
    from prologue_bench.stats.wording import difference_text
    from prologue_bench.texts.numbers import number

    table = plain_table(["metric", "variant"], ["first", "second", "difference"])
    table.add_column("95% interval over")
    table.add_column("rank correlation")
    for metric in found:
        unit = f" ({metric.unit})" if metric.unit else ""
        name, agreement = f"{metric.title}{unit}", _agreement(metric)
        for row in metric.rows:
            table.add_row(
                cell(name, "bold"),
                cell(_named(row)),
                number(row.first),
                number(row.second),
                "" if row.difference is None else difference_text(row.difference),
                _basis(row),
                agreement,
            )
            name = agreement = ""
    show(table)


def _named(row: Row) -> str:
    """A variant, and in which of the results it has collapsed."""
    where = " and ".join(row.collapsed)
    return f"{row.variant} (collapsed in {where})" if where else row.variant


def _basis(row: Row) -> str:
    """Over what the interval of a difference is taken."""
    found = row.difference
    if found is None or found.half_width is None:
        return ""
    family = f", simultaneous over {found.family}" if found.family > 1 else ""
    return f"{found.basis}{family}{', at all looks' if found.looks else ''}"


def _agreement(metric: MetricComparison) -> str:
    """How alike the runs rank, by Spearman's correlation."""
    return "" if metric.agreement is None else f"{metric.agreement:.2f} over {metric.runs} runs"
