"""The command line. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from prologue_bench import __version__
from prologue_bench.errors import Interrupted, PrologueBenchError, UserError

if TYPE_CHECKING:
    from prologue_bench.pipeline.planner import Plan
    from prologue_bench.registry import Registry
    from prologue_bench.spec.ablation import Ablation

EXIT_INTERRUPTED = 130
store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of artifacts  [$PROLOGUE_BENCH_STORE or the user's cache]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="prologue-bench")
def cli() -> None:
    """Train image tokenizers and generators, compare them in ablations, and report what holds."""


@cli.command()
@click.argument("ablation", type=click.Path(path_type=Path))
@click.option("--profile", help="Sizes and budgets in place of the file's.")
@click.option("--seeds", help="Training seeds in place of the file's, such as 0,1,2.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting, such as tokenizer.prologue_codebook=256; repeatable.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the report  [reports/NAME]")
@click.option("--dry-run", is_flag=True, help="Show the stages, what is cached and about how long the rest takes.")
@store_option
def run(
    ablation: Path,
    profile: str | None,
    seeds: str | None,
    values: tuple[str, ...],
    out: Path | None,
    dry_run: bool,
    store: Path | None,
) -> None:
    """Train, sample and measure what ABLATION asks for and is not in the store yet, and write its report."""
    from prologue_bench.spec.ablation import load_ablation
    from prologue_bench.spec.files import Overrides

    registry = _registry()
    overrides = Overrides(values=values, profile=profile, seeds=_seeds(seeds))
    checked = load_ablation(ablation, registry, overrides)
    _run(checked, registry, out or Path("reports") / checked.name, store, dry_run)


@cli.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--open", "show", is_flag=True, help="Open the report in the browser.")
def report(results: Path, show: bool) -> None:
    """Write the report of RESULTS, a folder that `run` wrote, anew."""
    from prologue_bench.reporting.report import load_pictures, write_report
    from prologue_bench.reporting.results import load_results

    folder = results if results.is_dir() else results.parent
    path = write_report(load_results(results), load_pictures(folder), folder)
    click.echo(path)
    if show:
        click.launch(path.resolve().as_uri())


@cli.command(name="list")
@click.argument("kind", required=False, type=click.Choice(["tokenizer", "generator", "metric", "data", "profile"]))
def list_components(kind: str | None) -> None:
    """List the components and profiles that are installed, with their origin."""
    from prologue_bench.spec.files import load_profile

    registry = _registry()
    rows: list[tuple[str, str, str, str]] = [
        (of, entry.component.name, entry.component.summary, entry.origin)
        for of, entry in registry
        if kind in (None, of)
    ]
    if kind in (None, "profile"):
        rows += [
            ("profile", name, load_profile(name, registry, "profile").summary, "prologue-bench")
            for name in registry.cards("profiles")
        ]
    before = None
    for of, name, summary, origin in rows:
        if of != before:
            click.echo(click.style(f"{of}s" if of != "data" else "data sources", bold=True))
            before = of
        source = "" if origin.startswith("prologue-bench") else f"  [{origin}]"
        click.echo(f"  {name:<24}{summary}{source}")


def main() -> None:
    """The entry point: errors become one line and an exit code."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except Interrupted as error:
        _fail(str(error), EXIT_INTERRUPTED)
    except PrologueBenchError as error:
        _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe, such as head, has left
        sys.exit(1)
    except OSError as error:  # a folder that cannot be written, a full disk
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)


def _fail(text: str, code: int) -> None:
    click.echo(f"prologue-bench: {text}", err=True)
    sys.exit(code)


def _registry() -> Registry:
    from prologue_bench.registry import Registry

    registry = Registry.load()
    for problem in registry.problems:
        click.echo(f"prologue-bench: {problem}", err=True)
    return registry


def _seeds(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers, such as 0,1,2") from None


def _run(ablation: Ablation, registry: Registry, folder: Path, store_folder: Path | None, dry_run: bool) -> None:
    from prologue_bench.pipeline.executor import execute
    from prologue_bench.pipeline.planner import make_plan
    from prologue_bench.pipeline.store import Store, default_store
    from prologue_bench.progress import open_progress
    from prologue_bench.reporting.report import render_markdown, write_report
    from prologue_bench.reporting.results import collect

    store = Store((store_folder or default_store()).resolve())
    plan = make_plan(ablation, store)
    if dry_run:
        _show_plan(plan, store.root)
        return
    with open_progress(plan) as progress, _stop_signals(progress.say) as stop:
        try:
            outcome = execute(plan, store, progress, stop.requested)
        except Interrupted as error:
            raise Interrupted(f"{error}; nothing is lost, the same command goes on from here") from None
    results, pictures = collect(plan, outcome, store, registry)
    path = write_report(results, pictures, folder)
    click.echo(render_markdown(results))
    click.echo(f"Report: {path}")
    if outcome.failures:
        reasons = dict.fromkeys(outcome.failures.values())
        raise PrologueBenchError(f"{len(reasons)} stage(s) failed: {'; '.join(reasons)}")


def _show_plan(plan: Plan, root: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from prologue_bench.durations import duration
    from prologue_bench.progress import label

    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column("key")
    table.add_column("state", justify="right")
    for planned in plan.stages:
        if planned.cached:
            state = "cached"
        else:
            state = f"about {duration(planned.seconds)}" if planned.seconds is not None else "not timed yet"
        table.add_row(label(planned), planned.stage.key, state)
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, 120)
    console.print(table)
    missing = plan.missing
    total = sum(planned.seconds or 0.0 for planned in missing)
    untimed = sum(planned.seconds is None for planned in missing)
    console.print(
        f"\n{len(plan.stages)} stages, {len(plan.stages) - len(missing)} cached; the rest takes about {duration(total)}"
        + (f" and {untimed} stages never timed on this machine" if untimed else "")
        + f". Store: {root}"
    )


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

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        say("stopping: the running stage saves its state (once more to leave at once)")
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


if __name__ == "__main__":
    main()
