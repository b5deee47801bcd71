"""The command `run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from prologue_bench.cli.commands import plan as planning
from prologue_bench.cli.commands.plan import profile_option, reuse_option, seeds_option, set_option
from prologue_bench.cli.options import (
    FOLDER,
    GpusType,
    JobsType,
    force_option,
    open_store,
    plugin_option,
    store_option,
)
from prologue_bench.cli.signals import stop_signals
from prologue_bench.errors import Interrupted, PrologueBenchError, UserError
from prologue_bench.training.launchers import Launcher, launcher_of

if TYPE_CHECKING:
    from prologue_bench.config.ablation import Ablation
    from prologue_bench.pipeline.executor import Outcome, RayRun
    from prologue_bench.pipeline.executors.jobs import Jobs
    from prologue_bench.pipeline.executors.ray_cluster import Cluster
    from prologue_bench.pipeline.needs import PlanNeeds
    from prologue_bench.pipeline.planner import Plan
    from prologue_bench.storage.store import Store

    Chooser = Callable[[Plan, PlanNeeds], Jobs | RayRun | None]


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
@click.option(
    "--only",
    multiple=True,
    metavar="VARIANT",
    help="Run the stages of this variant, and write no report; repeatable.",
)
@force_option
@reuse_option
@click.option(
    "--launcher",
    type=click.Choice(["none", "pytorch", "slurm", "mpi"]),
    help="How several processes were started  [pytorch under torchrun, else none]",
)
@click.option(
    "--jobs",
    type=JobsType(),
    envvar="PROLOGUE_BENCH_JOBS",
    help=(
        "Stages that run side by side, each in a process of its own  "
        "[$PROLOGUE_BENCH_JOBS or auto: what is fastest]"
    ),
)
@click.option("--gpus", type=GpusType(), help="The GPUs to use, such as 0,1, one per job  [all]")
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="Where stages run: on this machine, or on a Ray cluster  [local]",
)
@click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="The head node of the cluster  [auto: the cluster of this machine]",
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
    only: tuple[str, ...],
    force: bool,
    reuse: tuple[Path, ...],
    launcher: Launcher | None,
    jobs: int | None,
    gpus: tuple[int, ...] | None,
    executor: str,
    ray_address: str | None,
    store: Path | None,
) -> None:
    """Train, sample and measure what ABLATION needs and the store lacks; write its report."""
    if dry_run:
        planning.show(ablation, profile, seeds, values, store, reuse, only=only)
        return
    if only and (so_far or out):
        raise UserError(
            f"--only: found {'--so-far' if so_far else '--out'} beside it, but it writes no "
            "report; the same command without --only does, once all variants are finished"
        )
    checked = planning.read_ablation(ablation, profile, seeds, values)
    folder = out or planning.report_folder(ablation, checked)
    with ExitStack() as stack:
        choose: Chooser
        if executor == "ray":
            cluster = stack.enter_context(_cluster(ray_address, launcher, jobs, gpus))
            choose = partial(_on_ray, cluster, open_store(store))
        elif ray_address is not None:
            raise UserError("--ray-address: expected --executor ray beside it")
        else:
            choose = _chooser(launcher, jobs, gpus)
        if stack.enter_context(_processes(launcher)):
            with checked.registry.blaming(PrologueBenchError):
                _run(checked, folder, open_store(store), reuse, so_far, only, force, choose)


@contextmanager
def _cluster(
    address: str | None,
    launcher: Launcher | None,
    jobs: int | None,
    gpus: tuple[int, ...] | None,
) -> Iterator[Cluster]:
    """The cluster of --executor ray. Raises UserError for options that it takes no part in."""
    from prologue_bench.pipeline.executors.ray_cluster import connect

    if (named := launcher_of(launcher)) != "none":
        raise UserError(f"--executor ray: found --launcher {named}, expected one or the other")
    source = click.get_current_context().get_parameter_source
    for option, value in (("jobs", jobs), ("gpus", gpus)):
        if value is not None and source(option) == ParameterSource.COMMANDLINE:
            raise UserError(
                f"--executor ray: found --{option}, but Ray gives each stage its CPUs and GPUs; "
                f"leave --{option} out"
            )
    with connect(address or "auto") as cluster:
        yield cluster


def _chooser(
    launcher: Launcher | None, asked: int | None, gpus: tuple[int, ...] | None
) -> Callable[[Plan, PlanNeeds], Jobs | None]:
    """What says how many stages of a plan run at a time.

    Raises UserError for jobs and GPUs that there are not, before anything is planned.
    """
    if (named := launcher_of(launcher)) != "none":
        for option, value in (("--jobs", asked), ("--gpus", gpus)):
            if value is not None and value != 1:
                raise UserError(
                    f"{option}: the processes of --launcher {named} share each stage and have "
                    f"their own GPUs; leave {option} out, or start without the launcher"
                )
        return lambda plan, needs: None
    from prologue_bench.pipeline.executors.jobs import choose_jobs, this_machine

    machine = None
    if asked not in (None, 1) or gpus is not None:
        machine = this_machine(gpus)
        machine.check(asked or 1)

    def choose(plan: Plan, needs: PlanNeeds) -> Jobs | None:
        if not plan.missing or asked == 1:
            return None
        return choose_jobs(plan, asked, machine or this_machine(), needs.memory)

    return choose


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
    only: tuple[str, ...],
    force: bool,
    choose: Chooser,
) -> None:
    from prologue_bench.cli.console.needs import disk_line, needs_line
    from prologue_bench.cli.console.progress import open_progress
    from prologue_bench.pipeline.collect import collect
    from prologue_bench.pipeline.executor import Outcome, RayRun, execute
    from prologue_bench.pipeline.needs import check_disk, estimate_needs
    from prologue_bench.pipeline.reuse import fill_in
    from prologue_bench.pipeline.workspace import Workspace
    from prologue_bench.reporting.replacing import keep_remarks
    from prologue_bench.reporting.report import write_report
    from prologue_bench.reporting.tables import render_markdown

    workspace = Workspace(store)
    plan, earlier = planning.make_plan_with(ablation, workspace, reuse)
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
    if only:
        plan = plan.of_variants(only)
    else:
        _check_place(plan, folder, force)
    needs = estimate_needs(plan, workspace)
    way = choose(plan, needs)
    count = way.count if way else 1
    lines = [needs_line(needs, count, store.root)]
    if isinstance(way, RayRun):
        lines = [way.line, disk_line(needs, count, store.root)]
    check_disk(needs, count, store.root)
    with open_progress(plan, count) as progress, stop_signals(progress.say) as stop:
        for note in plan.notes:
            progress.say(note)
        for line in lines if plan.missing else []:
            progress.say(line)
        try:
            outcome = execute(plan, workspace, progress, stop.requested, way)
        except Interrupted as error:
            raise Interrupted(
                f"{error}; nothing is lost, the same command goes on from here"
            ) from None
    if only:
        if failed := _what_failed(plan, outcome):
            raise PrologueBenchError(failed)
        click.echo(f"Finished: {', '.join(only)}; run without --only for the report")
        return
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
    if failed:
        raise PrologueBenchError(failed)


def _on_ray(cluster: Cluster, store: Store, plan: Plan, needs: PlanNeeds) -> RayRun | None:
    """How a plan runs on a cluster.

    Raises UserError for a stage that no node can hold, and for a node that cannot take part.
    """
    import os

    import torch

    from prologue_bench.pipeline.executor import RayRun

    if not plan.missing:
        return None
    threads = torch.get_num_threads() if os.environ.get("OMP_NUM_THREADS") else None
    run = RayRun(cluster, plan, needs.memory, threads)
    run.check(store)
    return run


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
