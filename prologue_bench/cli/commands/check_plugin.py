"""The command `check-plugin`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prologue_bench.cli import completion
from prologue_bench.cli.console.terminal import style
from prologue_bench.cli.options import plugin_option, the_registry
from prologue_bench.errors import PrologueBenchError, UserError, nearest
from prologue_bench.guard import brief, pass_interrupt

if TYPE_CHECKING:
    from prologue_bench.conformance import Check
    from prologue_bench.registry import Kind

CHECKED: tuple[Kind, ...] = ("tokenizer", "generator", "metric", "data", "loss")


@click.command(name="check-plugin")
@click.argument("name", shell_complete=completion.components)
@click.option(
    "--kind",
    type=click.Choice(CHECKED),
    help="The kind, if components of two kinds have this name.",
)
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the component, such as levels=[4,4].",
)
@click.option(
    "--image-size",
    type=click.IntRange(1, 1024),
    default=28,
    show_default=True,
    metavar="PIXELS",
    help="The side of the made-up images, for a component that takes one size only.",
)
@click.option(
    "--image-channels",
    type=click.IntRange(1, 64),
    default=3,
    show_default=True,
    metavar="N",
    help="Their channels, such as 1 for a component that takes grey images only.",
)
@click.option(
    "--traceback", is_flag=True, help="Show the traceback of each check that raised an error."
)
@plugin_option
def check_plugin(
    name: str,
    kind: str | None,
    values: tuple[str, ...],
    image_size: int,
    image_channels: int,
    traceback: bool,
) -> None:
    """Check that the component NAME keeps its contract; exit code 1 if not.

    The component is built at the size of profile `smoke`, for made-up images. A data source is
    checked on its own images.
    """
    from prologue_bench.config.sections import parse_override
    from prologue_bench.conformance import checks_of
    from prologue_bench.conformance.checks import ConstructorFailed, made_up

    found = _kind(name, kind)
    settings = dict(parse_override(value) for value in values)
    entry = the_registry().find_entry(found, name)
    click.echo(f"{found} {name}, version {entry.component.version} of {entry.origin}")
    images = made_up(image_size, image_channels)
    checks = checks_of(found, name, settings, images, registry=the_registry())
    broken = []
    for check in checks:
        problem = _problem(check, traceback)
        broken += [check.name] if problem is not None else []
        if isinstance(problem, ConstructorFailed):
            for other in checks[checks.index(check) + 1 :]:
                _say_skipped(other, "not tried: the constructor failed")
            break
    if broken:
        raise PrologueBenchError(
            f"{found} {name!r} breaks {len(broken)} of {len(checks)} contracts: "
            f"{', '.join(broken)}; docs/plugins.md says what each requires"
        )
    click.echo(f"{found} {name!r} keeps all contracts that could be checked")


def _kind(name: str, kind: str | None) -> Kind:
    """The kind of the component of that name.

    Raises UserError where there is none, or more than one.
    """
    kinds: list[Kind] = [
        each for each in CHECKED if kind in (None, each) and name in the_registry().entries[each]
    ]
    if len(kinds) > 1:
        raise UserError(f"{name!r} is a {' and a '.join(kinds)}; choose one with --kind")
    if not kinds:
        names = {known for each in CHECKED for known in the_registry().entries[each]}
        raise UserError(f"unknown {kind or 'component'} {name!r}; {nearest(name, names)}")
    return kinds[0]


def _problem(check: Check, show_traceback: bool) -> BaseException | None:
    """Run one check and say how it went; what went wrong."""
    import traceback

    from prologue_bench.conformance.checks import Broken, Skipped

    try:
        check.run()
    except Skipped as reason:
        _say_skipped(check, str(reason))
        return None
    except BaseException as error:
        pass_interrupt(error)
        click.echo(f"  {style('BROKEN', 'red')}   {check.name}: {check.contract}")
        if isinstance(error, Broken):
            click.echo(f"           found: {error}")
        else:
            click.echo(f"           it raised {brief(error)}")
        if not isinstance(error, Broken) or error.__cause__ is not None:
            click.echo(
                traceback.format_exc() if show_traceback else "           --traceback shows where"
            )
        return error
    click.echo(f"  {style('ok', 'green')}       {check.name}: {check.contract}")
    return None


def _say_skipped(check: Check, reason: str) -> None:
    click.echo(f"  {style('skipped', 'yellow')}  {check.name}: {reason}")
