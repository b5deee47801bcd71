"""The command line's group of commands."""

from __future__ import annotations

import click

from prologue_bench import __version__
from prologue_bench.cli.commands import COMMANDS
from prologue_bench.cli.console.terminal import guarded
from prologue_bench.cli.options import the_registry
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.guard import brief, place_of, shown
from prologue_bench.stopping import is_interrupt


class PluginGroup(click.Group):
    """The commands of COMMANDS, and those that plugins bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *COMMANDS, *the_registry().commands})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if added := super().get_command(ctx, name):
            return added
        found = COMMANDS.get(name) or the_registry().commands.get(name)
        if found is None:
            return None
        command = found.load()
        if not isinstance(command, click.Command):
            raise UserError(
                f"command {name!r}: {found.target} is {shown(command)}, expected a click command"
            )
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command.

        What a plugin's code does wrong ends it with one line that names the plugin.
        """
        try:
            return super().invoke(ctx)
        except BaseException as error:
            if (
                is_interrupt(error)
                or isinstance(error, PrologueBenchError)
                or not the_registry.cache_info().currsize
            ):
                raise
            name = ctx.invoked_subcommand
            if name in the_registry().commands:
                if isinstance(error, SystemExit) and isinstance(error.code, int | None):
                    return error.code or 0
                if isinstance(error, click.ClickException | click.exceptions.Exit | OSError):
                    raise  # how a command ends
                who = f"command {name!r}"
            elif not (who := the_registry().culprit(error)):
                raise
            raise PrologueBenchError(f"{who}: {brief(error)}{place_of(error)}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without importing any."""
        rows = {
            name: command.summary for name, command in (the_registry().commands | COMMANDS).items()
        }
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows.items()))


@click.group(
    cls=PluginGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="prologue-bench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train image tokenizers and generators, compare them in ablations, and report what holds."""
    context.color = True  # what is no text is escaped, so that nothing need be taken out
    context.with_resource(guarded())
