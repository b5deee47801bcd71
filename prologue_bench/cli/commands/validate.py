"""The command `validate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.cli.options import FILE, PATH, force_option
from prologue_bench.errors import LONGEST_MESSAGE, PrologueBenchError, UserError, abridged

if TYPE_CHECKING:
    from prologue_bench.results.validation import Validation


@click.command()
@click.argument("files", metavar="FILE...", type=PATH, nargs=-1, required=True)
@click.option(
    "--extract",
    "out",
    type=FILE,
    metavar="FILE",
    help="If nothing is wrong, write what a leaderboard shows of the results to this file.",
)
@force_option
def validate(files: tuple[Path, ...], out: Path | None, force: bool) -> None:
    """Check results before others rely on them; exit code 1 if anything is wrong.

    FILE is a results.json, a folder with one, or an extract of one. Its form is checked, that
    every number has its protocol and is possible, that all variants were measured alike, all
    checksums, and the numbers of a results.csv beside it. Everything that is wrong is one line
    each.
    """
    from prologue_bench.results.validation import validate as check
    from prologue_bench.texts.lines import one_line

    if out is not None and len(files) > 1:
        raise UserError("--extract is of one file of results; give one")
    wrong = 0
    for path in files:
        found = check(path)
        for problem in found.problems:
            click.echo(abridged(one_line(f"{found.file}: {problem}"), LONGEST_MESSAGE))
        if not found.problems:
            click.echo(one_line(f"{found.file}: nothing is wrong: {found.summary}"))
            if out is not None:
                _write_extract(found, out, force)
        wrong += bool(found.problems)
    if wrong:
        raise PrologueBenchError(
            f"{wrong} of {len(files)} files of results must not be relied on; "
            "docs/leaderboard-rows.md says what is checked"
            if len(files) > 1
            else f"{files[0]}: must not be relied on; docs/leaderboard-rows.md says what is checked"
        )


def _write_extract(found: Validation, out: Path, force: bool) -> None:
    from prologue_bench.reporting.extracts import check_extract_place, extract, to_text
    from prologue_bench.storage.files import write_text

    assert found.results is not None, "nothing is wrong with it"
    if not force:
        check_extract_place(out, found.results)
    document = extract(found.results, found.content, found.file)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, to_text(document) + "\n")
    click.echo(out)
