"""The commands `new tokenizer` and `new ablation`."""

from __future__ import annotations

import re
from pathlib import Path

import click
from jinja2 import Environment, PackageLoader, StrictUndefined

from prologue_bench.errors import UserError
from prologue_bench.storage.files import write_text


@click.group()
def new() -> None:
    """Write a tokenizer or an ablation to start from."""


@new.command()
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write  [NAME.py, with underscores]",
)
def tokenizer(name: str, out: Path | None) -> None:
    """Write a tokenizer called NAME in one file.

    It works as it is, and is yours to change: vector quantization of linear patches.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise UserError(
            f"{name}: expected small letters, digits and '-', beginning with a letter, "
            "such as my-tokenizer"
        )
    path = out or Path(f"{name.replace('-', '_')}.py")
    if not path.stem.isidentifier():
        raise UserError(
            f"--out {path}: expected a file that Python can import, "
            f"such as {name.replace('-', '_')}.py"
        )
    parts = name.split("-")
    _write(
        path,
        "tokenizer.py.j2",
        name=name,
        module=path.stem,
        cls="".join(part.capitalize() for part in parts),
    )
    click.echo(f"{path}\nnext: prologue-bench check-plugin {name} --plugin {path}")


@new.command()
@click.argument("name")
@click.option(
    "--tokenizer", default="prologue", show_default=True, help="The tokenizer to compare."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write  [NAME.yaml]"
)
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
