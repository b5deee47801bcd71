"""The commands `new`: a component or an ablation to start from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
from jinja2 import Environment, PackageLoader, StrictUndefined

from prologue_bench.cli.options import FILE
from prologue_bench.errors import UserError
from prologue_bench.storage.files import write_text

if TYPE_CHECKING:
    from prologue_bench.registry import Kind

COMPONENTS: dict[Kind, tuple[str, str]] = {
    "tokenizer": ("a tokenizer", "vector quantization of linear patches"),
    "generator": ("a generator", "a recurrent network that draws token by token"),
    "metric": ("a metric", "the mean absolute error of reconstructions"),
    "data": ("a data source", "images of stripes"),
}
"""What can be begun with a file, and what is in it."""


@click.group()
def new() -> None:
    """Write a tokenizer, generator, metric, data source or ablation to start from."""


def _component(kind: Kind) -> click.Command:
    """The command that writes a component of a kind."""
    what, example = COMPONENTS[kind]

    @click.argument("name")
    @click.option(
        "--out",
        type=FILE,
        help="The file to write  [NAME.py, with underscores]",
    )
    def write(name: str, out: Path | None) -> None:
        from prologue_bench.cli.options import the_registry
        from prologue_bench.registry import is_module_elsewhere

        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise UserError(
                f"{name}: expected small letters, digits and '-', beginning with a letter, "
                f"such as my-{kind}"
            )
        path = out or Path(f"{name.replace('-', '_')}.py")
        if not path.stem.isidentifier():
            raise UserError(
                f"--out {path}: expected a file that Python can import, "
                f"such as {name.replace('-', '_')}.py"
            )
        if is_module_elsewhere(path):
            raise UserError(
                f"{path}: there is a module {path.stem!r} already; give another name, "
                "or another file with --out"
            )
        if name in the_registry().entries[kind]:
            raise UserError(f"{name}: there is a {kind} of that name already; give another one")
        cls = "".join(part.capitalize() for part in name.split("-"))
        _write(path, f"{kind}.py.j2", name=name, module=path.stem, cls=cls)
        click.echo(f"{path}\nnext: prologue-bench check-plugin {name} --plugin {path}")

    text = f"Write {what} called NAME as one file that works, to be changed.\n\nIt is {example}."
    return click.command(kind, help=text)(write)


for _kind in COMPONENTS:
    new.add_command(_component(_kind))


@new.command()
@click.argument("name")
@click.option(
    "--tokenizer", default="prologue", show_default=True, help="The tokenizer to compare."
)
@click.option("--out", type=FILE, help="The file to write  [NAME.yaml]")
def ablation(name: str, tokenizer: str, out: Path | None) -> None:
    """Write an ablation called NAME.

    It compares a tokenizer with the baseline, and is yours to change.
    """
    from prologue_bench.cli.options import the_registry

    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise UserError(f"{name}: expected letters, digits, '_', '-' and '.'")
    the_registry().find("tokenizer", tokenizer, "--tokenizer")
    path = out or Path(f"{name}.yaml")
    _write(path, "ablation.yaml.j2", name=name, tokenizer=tokenizer)
    click.echo(f"{path}\nnext: prologue-bench plan {path}")


def _write(path: Path, template: str, **values: str) -> None:
    """Render a template into a file that is not there yet."""
    if path.exists():
        raise UserError(f"{path}: this file exists already; choose another with --out")
    environment = Environment(
        loader=PackageLoader("prologue_bench.cli.commands"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, environment.get_template(template).render(values))
