"""The command `run`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.cli.commands import plan as planning
from prologue_bench.cli.commands.plan import profile_option, reuse_option, seeds_option, set_option
from prologue_bench.cli.options import (
    FOLDER,
    force_option,
    open_store,
    plugin_option,
    store_option,
)
from prologue_bench.cli.signals import stop_signals
from prologue_bench.errors import Interrupted, PrologueBenchError, UserError
from prologue_bench.notices import notice
from prologue_bench.training.launchers import Launcher, launcher_of

if TYPE_CHECKING:
    from prologue_bench.config.ablation import Ablation
    from prologue_bench.pipeline.executor import Outcome
    from prologue_bench.pipeline.planner import Plan
    from prologue_bench.pipeline.sharing import Sharing
    from prologue_bench.storage.store import Store


@click.command()
@click.argument("ablation", type=click.Path(path_type=Path))
@profile_option
@seeds_option
@set_option
@click.option(
    "--out",
    type=FOLDER,
    help="Folder of the report  [reports/NAME, or reports/NAME-PROFILE]",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show the stages, what is cached and about how long the rest takes.",
)
@click.option(
    "--so-far",
    is_flag=True,
    help="Run nothing; write a report of what is finished, while other processes go on.",
)
@force_option
@reuse_option
@click.option(
    "--launcher",
    type=click.Choice(["none", "pytorch", "slurm", "mpi"]),
    help="How several processes were started  [pytorch under torchrun, else none]",
)
@click.option(
    "--remote",
    metavar="URL",
    help="Before the run, fetch finished stages from this remote; send there what is finished.",
)
@store_option
@plugin_option
def run(
    ablation: Path,
    profile: str | None,
    seeds: str | None,
    values: tuple[str, ...],
    out: Path | None,
    dry_run: bool,
    so_far: bool,
    force: bool,
    reuse: tuple[Path, ...],
    launcher: Launcher | None,
    store: Path | None,
    remote: str | None,
) -> None:
    """Train, sample and measure what ABLATION needs and the store lacks; write its report."""
    if dry_run:
        planning.show(ablation, profile, seeds, values, store, reuse, remote=remote)
        return
    checked = planning.read_ablation(ablation, profile, seeds, values)
    folder = out or planning.report_folder(ablation, checked)
    with _processes(launcher) as leads:
        if leads:
            with checked.registry.blaming(PrologueBenchError):
                _run(checked, folder, open_store(store), reuse, so_far, force, remote)


@contextmanager
def _processes(launcher: Launcher | None) -> Iterator[bool]:
    """Yields whether this process leads.

    The others take part in shared stages, until the leader is done.
    """
    launcher = launcher_of(launcher)
    if launcher == "none":
        yield True
        return
    from prologue_bench.pipeline.steps import Follower
    from prologue_bench.training import distributed

    distributed.start(launcher)
    if distributed.is_leader():
        try:
            yield True
        finally:
            distributed.announce(None)
            distributed.stop()
        return
    with stop_signals(lambda text: None) as stop:
        distributed.follow(Follower(stop.requested).join)
    distributed.stop()
    yield False


def _run(
    ablation: Ablation,
    folder: Path,
    store: Store,
    reuse: tuple[Path, ...],
    so_far: bool,
    force: bool,
    remote: str | None,
) -> None:
    from prologue_bench.cli.console.progress import open_progress
    from prologue_bench.cli.console.transfers import showing
    from prologue_bench.pipeline.collect import collect
    from prologue_bench.pipeline.executor import Outcome, execute
    from prologue_bench.pipeline.reuse import fill_in
    from prologue_bench.pipeline.workspace import Workspace
    from prologue_bench.reporting.replacing import keep_remarks
    from prologue_bench.reporting.report import write_report
    from prologue_bench.reporting.tables import render_markdown

    workspace = Workspace(store)
    sharing = _sharing(remote, store)
    plan, earlier = planning.make_plan_with(ablation, workspace, reuse)
    if not so_far:
        _check_place(plan, folder, force)
    if sharing is not None:
        plan = sharing.fetch(plan, partial(showing, done="fetched"))
    if so_far:
        results, pictures = collect(plan, Outcome(), workspace)
        results = fill_in(results, pictures, plan, earlier)
        if not any(run.stages for run in results.runs):
            raise UserError(
                f"nothing of {ablation.name} is finished in {store.root}; no report is written"
            )
        results = keep_remarks(results, folder)
        click.echo(f"Report: {write_report(results, pictures, folder, force)}")
        return
    with open_progress(plan) as progress, stop_signals(progress.say) as stop:
        for note in plan.notes:
            progress.say(note)
        try:
            watcher = progress if sharing is None else sharing.watching(progress, stop.requested)
            outcome = execute(plan, workspace, watcher, stop.requested)
        except Interrupted as error:
            raise Interrupted(
                f"{error}; nothing is lost, the same command goes on from here"
            ) from None
    results, pictures = collect(plan, outcome, workspace)
    results = keep_remarks(fill_in(results, pictures, plan, earlier), folder)
    failed = _what_failed(plan, outcome)
    try:
        path = write_report(results, pictures, folder, force)
    except UserError as error:
        raise PrologueBenchError(
            f"{failed}; the report is left as it is: {error}" if failed else str(error)
        ) from None
    click.echo(render_markdown(results))
    click.echo(f"Report: {path}")
    unsent = "" if sharing is None else sharing.finish(plan, partial(showing, done="sent"))
    if sharing is not None and unsent:
        later = f"`prologue-bench store push {sharing.remote.url} --for {folder}` sends the rest"
        unsent = f"{unsent}; {later}"
    if failed or unsent:
        raise PrologueBenchError("; ".join(filter(None, (failed, unsent))))


def _sharing(url: str | None, store: Store) -> Sharing | None:
    """What a run does with its remote.

    Raises UserError for a URL that cannot be one, before anything is run.
    """
    if url is None:
        return None
    from prologue_bench.pipeline.sharing import Sharing
    from prologue_bench.storage.remotes.remote import open_remote

    return Sharing(open_remote(url, store.root), store, notice)


def _what_failed(plan: Plan, outcome: Outcome) -> str:
    """How many stages failed, how many did not run because of those, and each reason once."""
    if not outcome.failures:
        return ""
    over = [stage for each in plan.stages if (stage := each.stage).key in outcome.failures]
    behind = sum(any(each.key in outcome.failures for each in stage.inputs) for stage in over)
    failed = len(over) - behind
    text = f"{failed} stage{'s' * (failed > 1)} failed"
    if behind:
        text += f", and {behind} behind {'it' if failed == 1 else 'them'} did not run"
    return f"{text}: {'; '.join(dict.fromkeys(outcome.failures.values()))}"


def _check_place(plan: Plan, folder: Path, force: bool) -> None:
    """As `check_place` of reports, before anything of a plan is run."""
    from prologue_bench.reporting.replacing import check_place, report_in
    from prologue_bench.results.pictures import picture_names

    keys = {measure.key for pipeline in plan.pipelines for measure in pipeline.measures}
    pictures = picture_names(len(plan.first_pipelines), 0)
    check_place(folder, plan.ablation.name, keys, pictures, force, report_in(folder))
