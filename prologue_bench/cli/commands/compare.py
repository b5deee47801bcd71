"""The command `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.cli.console.terminal import style
from prologue_bench.errors import UserError

if TYPE_CHECKING:
    from prologue_bench.reporting.comparison import MetricComparison, Row


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
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
    from prologue_bench.results.caveats import caveats
    from prologue_bench.results.loading import load_numbers

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
        return
    for each in found:
        _show(each)
    shown = {each.metric for each in found}
    for sentence in dict.fromkeys(caveats(one, shown) + caveats(other, shown)):
        click.echo(sentence)


def _show(metric: MetricComparison) -> None:
    from prologue_bench.texts.numbers import number

    unit = f" ({metric.unit})" if metric.unit else ""
    click.echo(style(f"{metric.title}{unit}", "bold"))
    if metric.conflict:
        click.echo(f"  not subtracted, the protocols differ in {'; '.join(metric.conflict)}")
    width = max(len(row.variant) for row in metric.rows)
    for row in metric.rows:
        click.echo(
            f"  {row.variant:<{width}}  {number(row.first):>9}  {number(row.second):>9}  "
            f"{_difference(row)}"
        )
    if metric.agreement is not None:
        click.echo(
            f"  the {metric.runs} runs rank alike: Spearman's correlation {metric.agreement:.2f}"
        )


def _difference(row: Row) -> str:
    from prologue_bench.stats.wording import difference_text

    found = row.difference
    if found is None:
        return ""
    family = f", simultaneous over {found.family} variants" if found.family > 1 else ""
    interval = "" if found.half_width is None else f" (95% over {found.basis}{family})"
    return f"{difference_text(found)}{interval}"
