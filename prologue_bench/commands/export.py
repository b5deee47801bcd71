"""The command `export`."""

from __future__ import annotations

from pathlib import Path

import click

from prologue_bench.commands.options import open_store, plugin_option, store_option, the_registry


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--variant", help="Which variant  [the last of the results]")
@click.option("--training-seed", type=int, help="Which of its trainings  [the first]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the export.")
@store_option
@plugin_option
def export(results: Path, variant: str | None, training_seed: int | None, out: Path, store: Path | None) -> None:
    """Write the models of a finished run in RESULTS to a folder that needs no store: weights, settings, model card."""
    from prologue_bench.pipeline.exports import export_run
    from prologue_bench.pipeline.finished import chosen_run, load_run
    from prologue_bench.pipeline.models import count_parameters
    from prologue_bench.reporting.model_card import write_model_card
    from prologue_bench.reporting.results import load_results

    found = load_results(results)
    name, seed = chosen_run(found, variant, training_seed)
    run = load_run(found, open_store(store), the_registry(), name, seed)
    config = export_run(run, found, out, the_registry())
    parameters = {"tokenizer": count_parameters(run.tokenizer), "generator": count_parameters(run.generator)}
    write_model_card(config, run.tokenizer.layout, parameters, out)
    click.echo(f"{out}: {name}, training seed {seed}")
