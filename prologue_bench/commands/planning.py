"""The command `plan`, and what `run --dry-run` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.commands.options import open_store, plugin_option, store_option, the_registry
from prologue_bench.errors import UserError

if TYPE_CHECKING:
    from prologue_bench.spec.ablation import Ablation

profile_option = click.option("--profile", help="Sizes and budgets in place of the file's.")
seeds_option = click.option("--seeds", help="Training seeds in place of the file's, such as 0,1,2.")
set_option = click.option(
    "--set",
    "values",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting, such as tokenizer.prologue_codebook=256; repeatable.",
)


@click.command()
@click.argument("ablation", type=click.Path(path_type=Path))
@profile_option
@seeds_option
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@store_option
@plugin_option
def plan(
    ablation: Path, profile: str | None, seeds: str | None, values: tuple[str, ...], as_json: bool, store: Path | None
) -> None:
    """Show the stages of ABLATION, what is cached and about how long the rest takes; run nothing."""
    show(ablation, profile, seeds, values, store, as_json)


def show(
    path: Path,
    profile: str | None,
    seeds: str | None,
    values: tuple[str, ...],
    store: Path | None,
    as_json: bool = False,
) -> None:
    """Print the plan of an ablation, as a table or as JSON."""
    import json

    from prologue_bench.pipeline.nominal import assume_missing_data
    from prologue_bench.pipeline.planner import make_plan
    from prologue_bench.plan_table import plan_records, show_plan

    ablation = read_ablation(path, profile, seeds, values)
    opened = open_store(store)
    note = assume_missing_data(ablation, the_registry())
    found = make_plan(ablation, opened)
    if as_json:
        click.echo(json.dumps(plan_records(found), indent=1))
        return
    show_plan(found, opened.root)
    if note:
        click.echo(note)


def read_ablation(path: Path, profile: str | None, seeds: str | None, values: tuple[str, ...]) -> Ablation:
    """The checked ablation of a file, with what the command line puts over it."""
    from prologue_bench.spec.ablation import load_ablation
    from prologue_bench.spec.files import Overrides

    return load_ablation(path, the_registry(), Overrides(values=values, profile=profile, seeds=parse_seeds(seeds)))


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """The seeds of --seeds. Raises UserError."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers, such as 0,1,2") from None
