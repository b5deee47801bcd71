"""The command `export`."""

from __future__ import annotations

from pathlib import Path

import click

from prologue_bench.cli.options import (
    FOLDER,
    PATH,
    force_option,
    open_store,
    plugin_option,
    remote_option,
    store_option,
    the_registry,
)


@click.command()
@click.argument("results", type=PATH)
@click.option("--variant", help="The variant  [the last one of the results]")
@click.option("--training-seed", type=int, help="The seed of its training  [the first one]")
@click.option(
    "--out",
    type=FOLDER,
    required=True,
    help="Folder of the export.",
)
@force_option
@store_option
@remote_option
@plugin_option
def export(
    results: Path,
    variant: str | None,
    training_seed: int | None,
    out: Path,
    force: bool,
    store: Path | None,
    remote: str | None,
) -> None:
    """Write the models of a finished run in RESULTS to a folder that needs no store.

    The folder holds the weights, the settings and a model card.
    """
    from prologue_bench.cli.console.transfers import elsewhere
    from prologue_bench.pipeline.models import (
        GENERATOR_WEIGHTS,
        TOKENIZER_WEIGHTS,
        count_parameters,
    )
    from prologue_bench.results.loading import load_results
    from prologue_bench.runs.exports import (
        CONFIG,
        check_export_place,
        describe_export,
        write_config,
        write_weights,
    )
    from prologue_bench.runs.loading import chosen_run, load_run
    from prologue_bench.runs.model_card import CARD, write_model_card
    from prologue_bench.storage.placing import placing

    found = load_results(results)
    name, seed = chosen_run(found, variant, training_seed)
    run = load_run(found, open_store(store), the_registry(), name, seed, elsewhere(remote))
    config = describe_export(run, found, the_registry())
    own = check_export_place(
        out, config, (TOKENIZER_WEIGHTS, GENERATOR_WEIGHTS, CARD, CONFIG), force
    )
    parameters = {
        "tokenizer": count_parameters(run.tokenizer),
        "generator": count_parameters(run.generator),
    }
    with placing(out, own, last=CONFIG) as aside:
        write_weights(run, aside)
        write_model_card(config, run.tokenizer.layout, parameters, aside, out.resolve().name)
        write_config(config, aside)
    click.echo(f"{out}: {name}, training seed {seed}")
