"""The command `regress`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.cli.options import FILE, PATH, force_option
from prologue_bench.errors import UserError

if TYPE_CHECKING:
    from prologue_bench.regression.check import Check

EXIT_REGRESSION = 1
BEGINNING = 4096
"""Bytes of a file that are looked at to tell what wrote it."""
MARKDOWN = re.compile(rb"### .*: (no )?regression\r?\n")
JUNIT = re.compile(rb"<\?xml [^>]*\?>\s*<testsuite name=")
"""How the files begin that this command writes."""


@click.command()
@click.argument("results", type=PATH)
@click.option(
    "--against",
    type=PATH,
    required=True,
    help="A baseline that `bless` made, or a folder that `run` wrote.",
)
@click.option(
    "--fail-on",
    "limits",
    multiple=True,
    metavar="METRIC:±N[%]",
    help="Gate this metric, by name or pattern, and no others: + fails on a rise, - on a fall; "
    "'speed' means the times of benchmarks; repeatable.",
)
@click.option("--benchmarks", type=PATH, help="JSON of `make bench`, to gate speed too.")
@click.option(
    "--markdown",
    type=FILE,
    help="Write a table for a pull request.",
)
@click.option("--junit", type=FILE, help="Write JUnit XML.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@force_option
def regress(
    results: Path,
    against: Path,
    limits: tuple[str, ...],
    benchmarks: Path | None,
    markdown: Path | None,
    junit: Path | None,
    as_json: bool,
    force: bool,
) -> None:
    """Compare RESULTS, a folder that `run` wrote, with a baseline; exit code 1 on a regression.

    Without --fail-on, every metric of which one direction is better is gated by its noise: the
    spread over seeds or, with one seed, the intervals over images. Each number is gated alone. A
    metric that is in the baseline but missing from RESULTS counts as a regression.
    """
    import json

    import attrs

    from prologue_bench.regression import render as gate
    from prologue_bench.regression.check import (
        check_results,
        check_speed,
        check_speed_is_there,
        missing_seeds,
        parse_tolerance,
        read_benchmarks,
    )
    from prologue_bench.results.loading import load_numbers
    from prologue_bench.results.sources import other_data
    from prologue_bench.storage.files import write_text

    if not force:
        _check_output(markdown, MARKDOWN)
        _check_output(junit, JUNIT)
    tolerances = [parse_tolerance(limit) for limit in limits]
    if not against.exists():
        raise UserError(
            f"{against}: no baseline; expected a file that 'prologue-bench bless' writes, "
            "or a report"
        )
    found, baseline = load_numbers(results), load_numbers(against)
    checks = check_results(found, baseline, tolerances)
    if benchmarks is not None:
        if not baseline.benchmarks:
            raise UserError(
                f"{against}: the baseline has no benchmarks; bless it with --benchmarks"
            )
        checks += check_speed(read_benchmarks(benchmarks), baseline.benchmarks, tolerances)
    else:
        check_speed_is_there(tolerances, baseline)
    if all(check.status == "not gated" for check in checks):
        raise UserError(
            f"{against}: none of its {len(checks)} numbers can be gated, "
            "because their noise is not known; bless results of several seeds, "
            "or give limits with --fail-on"
        )
    note = other_data(baseline, found)
    if markdown is not None:
        write_text(markdown, gate.as_markdown(checks, baseline, note))
    if junit is not None:
        write_text(junit, gate.as_junit(checks, baseline.name))
    if as_json:
        plain = [{**attrs.asdict(check), "failed": check.failed} for check in checks]
        finite = [
            {name: None if value != value else value for name, value in check.items()}
            for check in plain
        ]
        click.echo(json.dumps(finite, indent=1))
    else:
        _show(checks)
        click.echo(f"\n{gate.summary(checks)}")
    for each in (note, *missing_seeds(found, baseline)):
        if each:
            click.echo(each, err=as_json)
    if any(check.failed for check in checks):
        raise click.exceptions.Exit(EXIT_REGRESSION)


def _show(checks: Sequence[Check]) -> None:
    from prologue_bench.cli.console.tables import cell, plain_table, show
    from prologue_bench.regression.render import HEADERS, cells

    table = plain_table(HEADERS[:2], HEADERS[2:5])
    for name in HEADERS[5:]:
        table.add_column(name)
    styles = {"regression": "bold red", "missing": "bold red", "better": "green"}
    for check in checks:
        *texts, verdict = cells(check)
        table.add_row(*map(cell, texts), cell(verdict, styles.get(check.status, "")))
    show(table)


def _check_output(path: Path | None, start: re.Pattern[bytes]) -> None:
    """Raises UserError for a file that does not begin as what this command writes."""
    if path is None or not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        if not start.match(file.read(BEGINNING)):
            raise UserError(
                f"{path}: is not as this command wrote it; name another file, "
                "or overwrite it with --force"
            )
