"""The command `report`."""

from __future__ import annotations

from pathlib import Path

import click

from prologue_bench.cli.options import FOLDER, PATH, force_option
from prologue_bench.errors import UserError


@click.command()
@click.argument("results", type=PATH, nargs=-1, required=True)
@click.option(
    "--out",
    type=FOLDER,
    help="Folder of the combined report of several RESULTS, or of one with another baseline.",
)
@click.option(
    "--baseline",
    help="The variant to compare with; of several RESULTS, as 'results: variant'.",
)
@force_option
@click.option("--open", "show", is_flag=True, help="Open the report in the browser.")
def report(
    results: tuple[Path, ...], out: Path | None, baseline: str | None, force: bool, show: bool
) -> None:
    """Rewrite the report of RESULTS, a folder that `run` wrote.

    With --out, combine several RESULTS in one report, or compare with another --baseline.
    """
    from prologue_bench.reporting.report import write_report
    from prologue_bench.results.loading import load_results
    from prologue_bench.results.merge import labels_of, merge_results
    from prologue_bench.results.pictures import load_pictures
    from prologue_bench.results.sources import with_baseline

    folders = [path if path.is_dir() else path.parent for path in results]
    loaded = map(load_results, results)
    parts = [
        (each, load_pictures(folder, each)) for each, folder in zip(loaded, folders, strict=True)
    ]
    for line in (line for _, pictures in parts for line in pictures.left_out):
        click.echo(f"prologue-bench: {line}", err=True)
    if len(parts) > 1 and out is None:
        raise UserError("several results make one report; name its folder with --out")
    if len(parts) > 1:
        labels = labels_of([each for each, _ in parts], folders)
        found, pictures = merge_results(parts, baseline, labels)
    else:
        found, pictures = parts[0]
        if baseline is not None and out is None:
            raise UserError("--baseline: the report with it is another one; name its folder, --out")
        if baseline is not None:
            found = with_baseline(found, baseline)
    path = write_report(found, pictures, out or folders[0], force)
    click.echo(path)
    if show:
        click.launch(path.resolve().as_uri())
