"""The command `show`."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from typing import TYPE_CHECKING, Any

import click

from prologue_bench.cli import completion
from prologue_bench.cli.console.terminal import style
from prologue_bench.cli.options import plugin_option, the_registry
from prologue_bench.errors import UserError, nearest

if TYPE_CHECKING:
    from prologue_bench.registry import Entry

CARD_FOLDERS = ("tokenizers", "generators", "recipes", "profiles", "datasets", "references")
"""Folders of the registry whose cards are shown by name."""


@click.command()
@click.argument("name", shell_complete=completion.shown)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@plugin_option
def show(name: str, as_json: bool) -> None:
    """Show everything named NAME.

    For a component: its settings, defaults, docs and source. For a preset: its content.
    """
    import json

    registry = the_registry()
    found = [
        describe_component(kind, entry) for kind, entry in registry if entry.component.name == name
    ]
    for folder in CARD_FOLDERS:
        if name in registry.cards(folder) and not (folder == "datasets" and found):
            found.append(
                {
                    "kind": folder.removesuffix("s"),
                    "name": name,
                    "file": str(registry.cards(folder)[name]),
                }
            )
    if not found:
        names = {entry.component.name for _, entry in registry}
        names |= {card for folder in CARD_FOLDERS for card in registry.cards(folder)}
        raise UserError(f"unknown name {name!r}; {nearest(name, names)}")
    if as_json:
        click.echo(json.dumps(found, indent=1, default=str))
        return
    for index, each in enumerate(found):
        click.echo("\n" * (index > 0), nl=False)
        _print(each)


def describe_component(kind: str, entry: Entry) -> dict[str, Any]:
    """What is known of a component: summary, origin, source, docs and settings."""
    component = entry.component
    cls = component.load()
    return {
        "kind": kind,
        "name": component.name,
        "summary": component.summary,
        "version": component.version,
        "origin": entry.origin,
        "target": component.target,
        "source": inspect.getsourcefile(cls),
        "docs": inspect.getdoc(cls) or "",
        "settings": settings_of(component.load_settings()),
    }


def settings_of(cls: type[Any]) -> list[dict[str, Any]]:
    """Name, type, default and docs of each setting; nested ones by dotted name."""
    import attrs

    from prologue_bench.contracts.settings import default_of

    docs = field_docs(cls)
    found: list[dict[str, Any]] = []
    for field in attrs.fields(cls):
        default = default_of(field)
        row = {"name": field.name, "type": _type(field.type), "docs": docs.get(field.name, "")}
        if attrs.has(type(default)):
            found.append({**row, "default": ""})
            values = {
                inner.name: getattr(default, inner.name) for inner in attrs.fields(type(default))
            }
            found += [
                {
                    **inner,
                    "name": f"{field.name}.{inner['name']}",
                    "default": values.get(inner["name"], inner["default"]),
                }
                for inner in settings_of(type(default))
            ]
        else:
            found.append({**row, "default": "required" if default is attrs.NOTHING else default})
    return found


def field_docs(cls: type[Any]) -> dict[str, str]:
    """The string below each field of an attrs class and of its bases, as the sources have them."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        body = getattr(tree, "body", [])
        for line, below in itertools.pairwise(body):
            if (
                isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and isinstance(below, ast.Expr)
            ):
                text = getattr(below.value, "value", None)
                if isinstance(text, str):
                    found[line.target.id] = " ".join(text.split())
    return found


def _type(annotation: Any) -> str:
    return (
        annotation
        if isinstance(annotation, str)
        else getattr(annotation, "__name__", str(annotation))
    )


def _print(each: dict[str, Any]) -> None:
    click.echo(style(f"{each['kind']} {each['name']}", "bold"))
    if "file" in each:
        from pathlib import Path

        click.echo(f"{each['file']}\n\n{Path(each['file']).read_text(encoding='utf-8').rstrip()}")
        return
    click.echo(f"{each['summary']}\n\n{each['docs']}\n")
    click.echo(
        f"version {each['version']} of {each['origin']}\n{each['target']}\n{each['source']}\n"
    )
    if not each["settings"]:
        click.echo("no settings")
    for row in each["settings"]:
        default = "" if row["default"] == "" else f" = {row['default']}"
        click.echo(f"  {row['name']}: {row['type']}{default}")
        if row["docs"]:
            click.echo(textwrap.indent(textwrap.fill(row["docs"], 92), "      "))
