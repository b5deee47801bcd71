"""The command `run`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.cli.commands import plan as planning
from prologue_bench.cli.commands.plan import (
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
)
from prologue_bench.cli.signals import stop_signals
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.notices import notice
from prologue_bench.training.launchers import Launcher, launcher_of

if TYPE_CHECKING:
    from prologue_bench.cli.running import ChooseJobs
    from prologue_bench.pipeline.executors.jobs import Jobs
    from prologue_bench.pipeline.needs import PlanNeeds
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
@until_decided_option
@most_seeds_option
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
    until_decided: str | None,
    max_seeds: int | None,
    force: bool,
    reuse: tuple[Path, ...],
    launcher: Launcher | None,
    jobs: int | None,
    gpus: tuple[int, ...] | None,
    store: Path | None,
    remote: str | None,
) -> None:
    """Train, sample and measure what ABLATION needs and the store lacks; write its report."""
    rule = planning.make_rule(until_decided, max_seeds)
    if dry_run:
        planning.show(ablation, profile, seeds, values, store, reuse, rule=rule, remote=remote)
        return
    say_at_once(f"Planning {ablation}")
    from prologue_bench.cli.running import Running

    checked = planning.read_ablation(ablation, profile, seeds, values, rule)
    place = open_store(store)
    running = Running(
        ablation=checked,
        folder=out or planning.report_folder(ablation, checked),
        store=place,
        reuse=reuse,
        force=force,
        rule=rule,
        choose_jobs=_chooser(launcher, jobs, gpus),
        sharing=_sharing(remote, place),
    )
    with _processes(launcher) as leads:
        if leads:
            with checked.registry.blaming(PrologueBenchError):
                running.start(so_far)


def _chooser(
    launcher: Launcher | None, asked: int | None, gpus: tuple[int, ...] | None
) -> ChooseJobs:
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


def _sharing(url: str | None, store: Store) -> Sharing | None:
    """What a run does with its remote.

    Raises UserError for a URL that cannot be one, before anything is run.
    """
    if url is None:
        return None
    from prologue_bench.pipeline.sharing import Sharing
    from prologue_bench.storage.remotes.remote import open_remote

    return Sharing(open_remote(url, store.root), store, notice)
