"""The command line. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

import click

from prologue_bench import __version__
from prologue_bench.commands import BUILT_IN, planning
from prologue_bench.commands.options import force_option, open_store, plugin_option, store_option, the_registry
from prologue_bench.commands.planning import profile_option, reuse_option, seeds_option, set_option
from prologue_bench.endings import is_interrupt, main
from prologue_bench.errors import Interrupted, PrologueBenchError, UserError
from prologue_bench.guard import brief, place_of, shown
from prologue_bench.launchers import Launcher, launcher_of
from prologue_bench.terminal import guarded, style

if TYPE_CHECKING:
    from prologue_bench.pipeline.store import Store
    from prologue_bench.registry import Registry
    from prologue_bench.spec.ablation import Ablation

SAME_SIGNAL_SECONDS = 1.0
"""torchrun passes a Ctrl-C on to processes that the terminal has sent it to already."""


C = TypeVar("C")
L = TypeVar("L")


class PluginGroup(click.Group):
    """The built-in commands, and those that plugins bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *the_registry().commands})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if built_in := super().get_command(ctx, name):
            return built_in
        found = the_registry().commands.get(name)
        if found is None:
            return None
        command = found.load()
        if not isinstance(command, click.Command):
            raise UserError(f"command {name!r}: {found.target} is {shown(command)}, expected a click command")
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command. What a plugin's code does wrong ends it with one line that names the plugin."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            if is_interrupt(error) or isinstance(error, PrologueBenchError) or not the_registry.cache_info().currsize:
                raise
            name = ctx.invoked_subcommand
            if name in the_registry().commands and name not in (each.name for each in BUILT_IN):
                if isinstance(error, SystemExit) and isinstance(error.code, int | None):
                    return error.code or 0
                if isinstance(error, click.ClickException | click.exceptions.Exit | OSError):
                    raise  # how a command ends
                who = f"command {name!r}"
            elif not (who := the_registry().culprit(error)):
                raise
            raise PrologueBenchError(f"{who}: {brief(error)}{place_of(error)}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without importing what plugins bring."""
        rows = [(name, command.get_short_help_str(100)) for name, command in self.commands.items()]
        rows += [(name, command.summary) for name, command in the_registry().commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))


@click.group(cls=PluginGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="prologue-bench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train image tokenizers and generators, compare them in ablations, and report what holds."""
    context.color = True  # what is no text is escaped, so that nothing need be taken out
    context.with_resource(guarded())


@cli.command()
@click.argument("ablation", type=click.Path(path_type=Path))
@profile_option
@seeds_option
@set_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the report  [reports/NAME, or reports/NAME-PROFILE]",
)
@click.option("--dry-run", is_flag=True, help="Show the stages, what is cached and about how long the rest takes.")
@click.option(
    "--so-far",
    is_flag=True,
    help="Run nothing: write the report of what is finished while other processes go on.",
)
@force_option
@reuse_option
@click.option(
    "--launcher",
    type=click.Choice(["none", "pytorch", "slurm", "mpi"]),
    help="How several processes were started  [pytorch under torchrun, else none]",
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
) -> None:
    """Train, sample and measure what ABLATION asks for and is not in the store yet, and write its report."""
    if dry_run:
        planning.show(ablation, profile, seeds, values, store, reuse)
        return
    checked = planning.read_ablation(ablation, profile, seeds, values)
    folder = out or planning.report_folder(ablation, checked)
    with _processes(launcher) as leads:
        if leads:
            _run(checked, the_registry(), folder, open_store(store), reuse, so_far, force)


@cli.command()
@click.argument("results", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the report of several RESULTS."
)
@click.option("--baseline", help="Of several RESULTS, the variant to compare with, as 'results: variant'.")
@force_option
@click.option("--open", "show", is_flag=True, help="Open the report in the browser.")
def report(results: tuple[Path, ...], out: Path | None, baseline: str | None, force: bool, show: bool) -> None:
    """Write the report of RESULTS, a folder that `run` wrote, anew; or put several into one report, with --out."""
    from prologue_bench.reporting.merge import labels_of, merge_results
    from prologue_bench.reporting.pictures import load_pictures
    from prologue_bench.reporting.report import write_report
    from prologue_bench.reporting.results import load_results

    folders = [path if path.is_dir() else path.parent for path in results]
    loaded = map(load_results, results)
    parts = [(each, load_pictures(folder, each)) for each, folder in zip(loaded, folders, strict=True)]
    for line in (line for _, pictures in parts for line in pictures.left_out):
        click.echo(f"prologue-bench: {line}", err=True)
    if len(parts) > 1 and out is None:
        raise UserError("several results go into one report: name its folder by --out")
    if len(parts) > 1:
        labels = labels_of([each for each, _ in parts], folders)
        found, pictures = merge_results(parts, baseline, labels)
    elif baseline is not None:
        raise UserError("--baseline is for several results; one has the baseline of its ablation")
    else:
        found, pictures = parts[0]
    path = write_report(found, pictures, out or folders[0], force)
    click.echo(path)
    if show:
        click.launch(path.resolve().as_uri())


@cli.command(name="list")
@click.argument(
    "kind", required=False, type=click.Choice(["tokenizer", "generator", "metric", "data", "loss", "preset", "profile"])
)
@plugin_option
def list_components(kind: str | None) -> None:
    """List the components, presets and profiles that are installed, with their origin."""
    from prologue_bench.spec.files import load_profile
    from prologue_bench.spec.presets import find_preset, preset_cards

    registry = the_registry()
    rows: list[tuple[str, str, str, str]] = [
        (of, entry.component.name, entry.component.summary, entry.origin)
        for of, entry in registry
        if kind in (None, of)
    ]
    if kind in (None, "preset"):
        presets = _readable(preset_cards(registry), lambda card: find_preset(*card, registry))
        rows += [("preset", preset.name, preset.summary, "prologue-bench") for preset in presets if preset]
    if kind in (None, "profile"):
        profiles = _readable(registry.cards("profiles"), lambda name: load_profile(name, registry, "profile"))
        rows += [("profile", profile.name, profile.summary, "prologue-bench") for profile in profiles]
    before = None
    for of, name, summary, origin in rows:
        if of != before:
            click.echo(style({"data": "data sources", "loss": "losses"}.get(of, f"{of}s"), "bold"))
            before = of
        source = "" if origin.startswith("prologue-bench") else f"  [{origin}]"
        click.echo(f"  {name:<24}{summary}{source}")


def _readable(cards: Iterable[C], load: Callable[[C], L]) -> Iterator[L]:
    """What the cards hold; one that is broken is left out with a line."""
    for card in cards:
        try:
            yield load(card)
        except UserError as error:
            click.echo(f"prologue-bench: a card is left out: {brief(error)}", err=True)


@contextmanager
def _processes(launcher: Launcher | None) -> Iterator[bool]:
    """Yields whether this process leads. The others take part in shared stages, until the leader is done."""
    launcher = launcher_of(launcher)
    if launcher == "none":
        yield True
        return
    from prologue_bench import distributed
    from prologue_bench.pipeline.work import join

    distributed.start(launcher)
    if distributed.is_leader():
        try:
            yield True
        finally:
            distributed.announce(None)
            distributed.stop()
        return
    with _stop_signals(lambda text: None) as stop:
        distributed.follow(lambda task: join(task, stop.requested))
    distributed.stop()
    yield False


def _run(
    ablation: Ablation,
    registry: Registry,
    folder: Path,
    store: Store,
    reuse: tuple[Path, ...],
    so_far: bool,
    force: bool,
) -> None:
    from prologue_bench.pipeline.executor import Outcome, execute
    from prologue_bench.progress import open_progress
    from prologue_bench.reporting.replacing import check_plan, keep_remarks
    from prologue_bench.reporting.report import write_report
    from prologue_bench.reporting.results import collect
    from prologue_bench.reporting.reuse import fill_in
    from prologue_bench.reporting.tables import render_markdown

    plan, earlier = planning.make_plan_with(ablation, store, reuse)
    if so_far:
        results, pictures = collect(plan, Outcome(), store, registry)
        fill_in(results, pictures, plan, earlier)
        if not any(run["stages"] for run in results["runs"]):
            raise UserError(f"nothing of {ablation.name} is finished in {store.root}; no report is written")
        keep_remarks(results, folder)
        click.echo(f"Report: {write_report(results, pictures, folder, force)}")
        return
    check_plan(plan, folder, force)
    with open_progress(plan) as progress, _stop_signals(progress.say) as stop:
        for note in plan.notes:
            progress.say(note)
        try:
            outcome = execute(plan, store, progress, stop.requested)
        except Interrupted as error:
            raise Interrupted(f"{error}; nothing is lost, the same command goes on from here") from None
    results, pictures = collect(plan, outcome, store, registry)
    fill_in(results, pictures, plan, earlier)
    keep_remarks(results, folder)
    reasons = dict.fromkeys(outcome.failures.values())
    failed = f"{len(reasons)} stage(s) failed: {'; '.join(reasons)}"
    try:
        path = write_report(results, pictures, folder, force)
    except UserError as error:
        raise PrologueBenchError(f"{failed}; the report is left as it is: {error}" if reasons else str(error)) from None
    click.echo(render_markdown(results))
    click.echo(f"Report: {path}")
    if reasons:
        raise PrologueBenchError(failed)


class _Stop:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def requested(self) -> bool:
        return self.asked


@contextmanager
def _stop_signals(say: Callable[[str], None]) -> Iterator[_Stop]:
    """The first SIGINT or SIGTERM asks the running stage to save and leave; a second one ends the process."""
    stop = _Stop()
    asked_at = 0.0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked_at
        if not stop.asked:
            stop.asked, asked_at = True, time.monotonic()
            say("stopping: the running stage saves its state (once more to leave at once)")
        elif time.monotonic() - asked_at > SAME_SIGNAL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


if __name__ == "__main__":
    main()
