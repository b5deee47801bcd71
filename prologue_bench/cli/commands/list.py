"""The command `list`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import click

from prologue_bench.cli.console.terminal import style
from prologue_bench.cli.options import plugin_option, the_registry
from prologue_bench.errors import UserError
from prologue_bench.guard import brief

C = TypeVar("C")
L = TypeVar("L")


@click.command(name="list")
@click.argument(
    "kind",
    required=False,
    type=click.Choice(
        ["tokenizer", "generator", "metric", "data", "loss", "preset", "profile", "ablation"]
    ),
)
@plugin_option
def list_components(kind: str | None) -> None:
    """List what is installed: components with their origin, presets, profiles and ablations."""
    from prologue_bench.config.files import load_profile
    from prologue_bench.config.packaged import ablation_files, title_of
    from prologue_bench.config.presets import find_preset, preset_cards

    registry = the_registry()
    rows: list[tuple[str, str, str, str]] = [
        (of, entry.component.name, entry.component.summary, entry.origin)
        for of, entry in registry
        if kind in (None, of)
    ]
    if kind in (None, "preset"):
        presets = _readable(preset_cards(registry), lambda card: find_preset(*card, registry))
        rows += [
            ("preset", preset.name, preset.summary, "prologue-bench")
            for preset in presets
            if preset
        ]
    if kind in (None, "profile"):
        profiles = _readable(
            registry.cards("profiles"),
            lambda name: load_profile(name, registry, "profile"),
            "profile {}".format,
        )
        rows += [
            ("profile", profile.name, profile.summary, "prologue-bench") for profile in profiles
        ]
    if kind in (None, "ablation"):
        rows += _readable(
            ablation_files(registry).items(),
            lambda found: ("ablation", found[0], title_of(found[1]), "prologue-bench"),
        )
    before, width = None, max((len(name) for _, name, *_ in rows), default=0)
    for of, name, summary, origin in rows:
        if of != before:
            click.echo(style({"data": "data sources", "loss": "losses"}.get(of, f"{of}s"), "bold"))
            before = of
        source = "" if origin.startswith("prologue-bench") else f"  [{origin}]"
        click.echo(f"  {name:<{width}}  {summary}{source}")


def _readable(
    cards: Iterable[C],
    load: Callable[[C], L],
    called: Callable[[C], str] = lambda card: "a card",
) -> Iterator[L]:
    """What the cards hold; one that is broken is left out with a line that says how it is called.

    A profile may be broken by what it extends.
    """
    for card in cards:
        try:
            yield load(card)
        except UserError as error:
            click.echo(f"prologue-bench: {called(card)} is left out: {brief(error)}", err=True)
