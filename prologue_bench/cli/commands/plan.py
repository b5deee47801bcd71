"""The command `plan`, and what `run --dry-run` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.cli import completion
from prologue_bench.cli.console.terminal import say_at_once
from prologue_bench.cli.options import (
    PATH,
    open_store,
    plugin_option,
    store_option,
    the_registry,
)
from prologue_bench.errors import UserError
from prologue_bench.notices import notice

if TYPE_CHECKING:
    from prologue_bench.config.ablation import Ablation
    from prologue_bench.pipeline.deciding import Rule
    from prologue_bench.pipeline.planner import Plan
    from prologue_bench.pipeline.reuse import EarlierRuns
    from prologue_bench.pipeline.workspace import Workspace
    from prologue_bench.storage.store import Store

SEEDS_AT_MOST = 10

ablation_argument = click.argument("ablation", type=PATH, shell_complete=completion.ablations)
profile_option = click.option(
    "--profile",
    shell_complete=completion.profiles,
    help="Take sizes and budgets from this profile, not from the file's.",
)
seeds_option = click.option(
    "--seeds", help="Use these training seeds, such as 0,1,2 or 0-4, instead of the file's."
)
set_option = click.option(
    "--set",
    "values",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=completion.settings,
    help="Override a setting, such as tokenizer.prologue_codebook=256; repeatable.",
)
until_decided_option = click.option(
    "--until-decided",
    metavar="METRIC",
    help=(
        "Add training seeds until each variant's difference from the baseline in METRIC leaves out "
        "zero or lies within the margin of equivalence."
    ),
)
most_seeds_option = click.option(
    "--max-seeds",
    type=int,
    help=f"With --until-decided: have at most so many training seeds  [{SEEDS_AT_MOST}]",
)
reuse_option = click.option(
    "--reuse",
    multiple=True,
    metavar="RESULTS",
    type=PATH,
    help=(
        "Reuse the runs of this ablation that RESULTS, the folder of a report, holds; repeatable."
    ),
)


@click.command()
@ablation_argument
@profile_option
@seeds_option
@set_option
@until_decided_option
@most_seeds_option
@reuse_option
@click.option("--all", "by_stage", is_flag=True, help="Show each stage, not each variant.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--remote", metavar="URL", help="Also say how many stages this remote has.")
@store_option
@plugin_option
def plan(
    ablation: Path,
    profile: str | None,
    seeds: str | None,
    values: tuple[str, ...],
    until_decided: str | None,
    max_seeds: int | None,
    reuse: tuple[Path, ...],
    by_stage: bool,
    as_json: bool,
    store: Path | None,
    remote: str | None,
) -> None:
    """Show what ABLATION takes, what is cached and how long the rest takes; run nothing."""
    rule = make_rule(until_decided, max_seeds)
    show(ablation, profile, seeds, values, store, reuse, as_json, rule, remote, by_stage=by_stage)


def make_rule(metric: str | None, most: int | None) -> Rule | None:
    """The rule of --until-decided and --max-seeds. Raises UserError for the second alone."""
    if metric is None:
        if most is not None:
            raise UserError(f"--max-seeds {most}: expected --until-decided METRIC with it")
        return None
    from prologue_bench.pipeline.deciding import Rule

    return Rule(metric, SEEDS_AT_MOST if most is None else most)


def show(
    path: Path,
    profile: str | None,
    seeds: str | None,
    values: tuple[str, ...],
    store: Path | None,
    reuse: tuple[Path, ...] = (),
    as_json: bool = False,
    rule: Rule | None = None,
    remote: str | None = None,
    only: tuple[str, ...] = (),
    by_stage: bool = False,
) -> None:
    """Print the plan of an ablation or of some of its variants, as a table or as JSON."""
    say_at_once(f"Planning {path}")
    import json

    from prologue_bench.cli.console.needs import needs_line
    from prologue_bench.cli.console.plan_table import plan_records, show_plan, what_may_be_added
    from prologue_bench.pipeline.deciding import part_of
    from prologue_bench.pipeline.needs import estimate_needs
    from prologue_bench.pipeline.nominal import planned_data
    from prologue_bench.pipeline.workspace import Workspace

    ablation = read_ablation(path, profile, seeds, values, rule)
    every = ablation if rule is None else rule.with_all_seeds(ablation)
    workspace = Workspace(open_store(store))
    with ablation.registry.blaming(UserError), planned_data(ablation, workspace) as note:
        try:
            whole, _ = make_plan_with(every, workspace, reuse)
        except UserError as error:
            raise UserError(f"{error}. {note}") if reuse and note else error from None
        found = part_of(whole, ablation.seeds)
        if only:
            found = found.of_variants(only)
        if as_json:
            click.echo(json.dumps(plan_records(found), indent=1))
        else:
            show_plan(found, workspace.store.root, by_stage)
            if found.missing:
                needs = estimate_needs(found, workspace)
                click.echo(needs_line(needs, 1, workspace.store.root))
    for line in found.notes if as_json else ():
        click.echo(line, err=True)
    if rule is not None:
        click.echo(what_may_be_added(rule, found, whole), err=as_json)
    if note:
        click.echo(note, err=as_json)
    if remote is not None:
        click.echo(_found_in(remote, found, workspace.store), err=as_json)


def _found_in(url: str, plan: Plan, store: Store) -> str:
    """How many of the stages that a plan lacks a remote has."""
    from prologue_bench.pipeline.sharing import Sharing
    from prologue_bench.storage.remotes.remote import open_remote

    remote = open_remote(url, store.root)
    remote.check()
    count = len(Sharing(remote, store, notice).there(plan).going)
    return f"{count} of {len(plan.missing)} missing stages are in {remote.url}"


def make_plan_with(
    ablation: Ablation, workspace: Workspace, reuse: tuple[Path, ...]
) -> tuple[Plan, EarlierRuns]:
    """The plan without the runs that earlier results hold, and those runs.

    Raises UserError when earlier results are named that hold none of the ablation's runs.
    """
    from prologue_bench.pipeline.planner import make_plan
    from prologue_bench.pipeline.reuse import EarlierRuns, load_earlier_runs

    earlier = load_earlier_runs(reuse) if reuse else EarlierRuns()
    with ablation.registry.blaming(UserError), ablation.document.naming_lines():
        plan = make_plan(ablation, workspace, known=earlier.__contains__)
    if not reuse:
        return plan, earlier
    for line in earlier.left_out:
        click.echo(f"prologue-bench: {line}", err=True)
    earlier.check_used(plan, reuse)
    store = workspace.store
    taken = sum(
        pipeline in earlier and not pipeline.is_measured(store) for pipeline in plan.pipelines
    )
    click.echo(
        f"{taken} of {len(plan.pipelines)} runs are taken from {', '.join(map(str, reuse))}",
        err=True,
    )
    return plan, earlier


def read_ablation(
    path: Path,
    profile: str | None,
    seeds: str | None,
    values: tuple[str, ...],
    rule: Rule | None = None,
) -> Ablation:
    """The checked ablation of a file or name, with what the command line puts over it.

    It is one that the rule by which seeds are added can decide.
    """
    from prologue_bench.config.ablation import load_ablation
    from prologue_bench.config.files import Overrides
    from prologue_bench.config.packaged import find_ablation

    overrides = Overrides(values=values, profile=profile, seeds=parse_seeds(seeds))
    ablation = load_ablation(find_ablation(path, the_registry()), the_registry(), overrides)
    if rule is not None:
        rule.check(ablation)
    return ablation


def report_folder(path: Path, ablation: Ablation) -> Path:
    """Where the report of an ablation's file goes by default.

    With another profile than the file's, beside its own.
    """
    from prologue_bench.storage.names import named_path

    name = ablation.name
    if ablation.document.values.get("profile", ablation.profile) != ablation.profile:
        name = f"{name}-{ablation.profile}"
    return named_path(Path("reports"), name, f"{path}: name")


LONGEST_RANGE = 10_000


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """The seeds of --seeds, such as 0,1,2, or 0-4 with both ends. Raises UserError."""
    if text is None:
        return None
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            if dash and first:
                if not 0 <= int(last) - int(first) < LONGEST_RANGE:
                    raise ValueError(part)
                seeds += range(int(first), int(last) + 1)
            else:
                seeds.append(int(part))
    except ValueError:
        raise UserError(
            f"--seeds {text}: expected whole numbers, such as 0,1,2, or a range, such as 0-4, "
            f"of at most {LONGEST_RANGE:,}"
        ) from None
    return tuple(seeds)
