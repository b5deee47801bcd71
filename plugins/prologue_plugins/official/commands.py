"""The command `claims`."""

from __future__ import annotations

from pathlib import Path

import click

from prologue_bench.cli.options import PATH


@click.command(name="claims")
@click.argument("results", type=PATH, nargs=-1, required=True)
@click.option("--json", "form", flag_value="json", help="Print JSON instead of text.")
@click.option(
    "--markdown",
    "form",
    flag_value="markdown",
    help="Print a Markdown table of the claims that were tested.",
)
def claims(results: tuple[Path, ...], form: str | None) -> None:
    """Test the paper's claims on RESULTS, folders that `run` wrote.

    Evidence from several folders is combined; what was measured on the same artifacts counts once.
    Each difference is between two variants of one folder, with the interval that its report shows.
    """
    import json

    from prologue_bench.cli.console.tables import cell, plain_table, show
    from prologue_bench.results.loading import load_results
    from prologue_plugins.official.claims import as_json, examine, markdown

    found = examine(*map(load_results, results))
    if form == "json":
        click.echo(json.dumps(as_json(found), indent=1))
        return
    if form == "markdown":
        click.echo(markdown(found), nl=False)
        return
    table = plain_table(["", "claim, and the differences that it is tested on", "verdict"])
    for claim in found:
        verdict = claim.verdict_text if claim.evidence else "not tested"
        table.add_row(claim.number, cell(claim.text, "bold"), cell(verdict, "bold"))
        for each in claim.evidence:
            table.add_row("", cell(str(each)), each.verdict())
        if claim.missing:
            table.add_row("", cell(claim.missing, "dim"))
    show(table)
