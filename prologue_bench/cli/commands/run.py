"""The command `run`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from prologue_bench.cli import completion
from prologue_bench.cli.commands import plan as planning
from prologue_bench.cli.commands.plan import (
    ablation_argument,
    most_seeds_option,
    profile_option,
    reuse_option,
    seeds_option,
    set_option,
    until_decided_option,
)
from prologue_bench.cli.console.terminal import say_at_once
from prologue_bench.cli.options import (
    FOLDER,
    GpusType,
    JobsType,
    force_option,
    open_store,
    plugin_option,
    store_option,
    verbosity,
    verbosity_options,
)
from prologue_bench.cli.signals import stop_signals
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.notices import notice
from prologue_bench.training.launchers import Launcher, launcher_of

if TYPE_CHECKING:
    from prologue_bench.cli.running import ChooseWay
    from prologue_bench.pipeline.executor import RayRun
    from prologue_bench.pipeline.executors.jobs import Jobs
    from prologue_bench.pipeline.executors.ray_cluster import Cluster
    from prologue_bench.pipeline.needs import PlanNeeds
    from prologue_bench.pipeline.planner import Plan
    from prologue_bench.pipeline.sharing import Sharing
    from prologue_bench.storage.store import Store


@click.command()
@ablation_argument
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
    shell_complete=completion.variants,
    help="Run the stages of this variant, and write no report; repeatable.",
)
@until_decided_option
@most_seeds_option
@force_option
@click.option("--open", "opened", is_flag=True, help="Open the report in the browser at the end.")
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
@click.option(
    "--gpus", type=GpusType(), help="GPUs, one per job, such as 0,1; two jobs share 0,0  [all]"
)
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
@click.option(
    "--remote",
    metavar="URL",
    help="Before the run, fetch finished stages from this remote; send there what is finished.",
)
@verbosity_options
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
    until_decided: str | None,
    max_seeds: int | None,
    force: bool,
    opened: bool,
    reuse: tuple[Path, ...],
    launcher: Launcher | None,
    jobs: int | None,
    gpus: tuple[int, ...] | None,
    executor: str,
    ray_address: str | None,
    quiet: bool,
    verbose: bool,
    store: Path | None,
    remote: str | None,
) -> None:
    """Train, sample and measure what ABLATION needs and the store lacks; write its report."""
    rule = planning.make_rule(until_decided, max_seeds)
    said = verbosity(quiet, verbose)
    if dry_run:
        planning.show(
            ablation, profile, seeds, values, store, reuse, rule=rule, remote=remote, only=only
        )
        return
    _check_only(only, so_far, out, until_decided, opened)
    if not quiet:
        say_at_once(f"Planning {ablation}")
    from prologue_bench.cli.running import Running

    checked = planning.read_ablation(ablation, profile, seeds, values, rule)
    place = open_store(store)
    with ExitStack() as stack:
        choose: ChooseWay
        if executor == "ray":
            cluster = stack.enter_context(_cluster(ray_address, launcher, jobs, gpus))
            choose = partial(_on_ray, cluster, place)
        elif ray_address is not None:
            raise UserError("--ray-address: expected --executor ray beside it")
        else:
            choose = _chooser(launcher, jobs, gpus)
        running = Running(
            ablation=checked,
            folder=out or planning.report_folder(ablation, checked),
            store=place,
            reuse=reuse,
            force=force,
            opened=opened,
            only=only,
            rule=rule,
            verbosity=said,
            choose_way=choose,
            sharing=_sharing(remote, place),
        )
        if stack.enter_context(_processes(launcher)):
            with checked.registry.blaming(PrologueBenchError):
                running.start(so_far)


def _check_only(
    only: tuple[str, ...],
    so_far: bool,
    out: Path | None,
    until_decided: str | None,
    opened: bool,
) -> None:
    """Raises UserError for what goes with all variants alone."""
    if not only:
        return
    if so_far:
        raise UserError(
            "--only: found --so-far beside it, which runs nothing; leave one of them out: "
            "--so-far alone writes a report of what is finished, and names the other variants"
        )
    for option, is_given in (("--out", out is not None), ("--open", opened)):
        if is_given:
            raise UserError(
                f"--only: found {option} beside it, but --only writes no report; "
                f"run it without {option}, and then with --so-far in place of --only: "
                "that writes a report of what is finished, and takes --out and --open"
            )
    if until_decided is not None:
        raise UserError(
            "--only: found --until-decided beside it, which compares all variants; "
            "leave one of them out"
        )


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
) -> ChooseWay:
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


def _sharing(url: str | None, store: Store) -> Sharing | None:
    """What a run does with its remote.

    Raises UserError for a URL that cannot be one, before anything is run.
    """
    if url is None:
        return None
    from prologue_bench.pipeline.sharing import Sharing
    from prologue_bench.storage.remotes.remote import open_remote

    return Sharing(open_remote(url, store.root), store, notice)
