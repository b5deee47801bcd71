"""The command `bless`."""

from __future__ import annotations

from pathlib import Path

import click

from prologue_bench.cli.options import FILE, PATH, force_option
from prologue_bench.errors import PrologueBenchError


@click.command()
@click.argument("results", type=PATH)
@click.option("--benchmarks", type=PATH, help="JSON of `make bench`, to include speed.")
@click.option(
    "--out",
    type=FILE,
    help="The file to write  [registry/baselines/NAME.json]",
)
@click.option("--note", default="", help="Why these results are the baseline.")
@force_option
def bless(results: Path, benchmarks: Path | None, out: Path | None, note: str, force: bool) -> None:
    """Turn RESULTS, a folder that `run` wrote, into a baseline.

    The baseline holds the numbers with their protocols, settings, revision and keys.
    """
    import json

    from prologue_bench.regression.check import check_baseline_place, make_baseline, read_benchmarks
    from prologue_bench.results.loading import load_results
    from prologue_bench.results.plain import plain
    from prologue_bench.storage.files import write_text
    from prologue_bench.storage.names import named_path

    found = load_results(results)
    if any(run.failures or run.unfinished for run in found.runs):
        raise PrologueBenchError(
            f"{results}: some runs failed or are unfinished; run the ablation again"
        )
    speed = read_benchmarks(benchmarks) if benchmarks is not None else {}
    path = out or named_path(
        Path("registry") / "baselines", found.name, f"{results}: name", ".json"
    )
    if not force:
        check_baseline_place(path, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(plain(make_baseline(found, speed, note)), indent=1) + "\n")
    click.echo(path)
