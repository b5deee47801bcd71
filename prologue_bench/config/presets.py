"""Presets and recipes: named settings, cards of registry/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import field, frozen

from prologue_bench.config.files import read_card
from prologue_bench.config.sections import merge
from prologue_bench.config.structure import Choice
from prologue_bench.documents.describing import describe
from prologue_bench.errors import UserError, nearest
from prologue_bench.registry import PRESET_FOLDERS, Kind, Registry


@frozen(kw_only=True)
class Release:
    """Where the weights of a published model are, and what its authors say of it."""

    code: str
    """The official implementation."""
    files: tuple[str, ...]
    """The released files, each where it is found."""
    licence: str
    """Of code and weights."""
    results: Mapping[str, str] = field(factory=dict)
    """Published numbers by metric, as printed."""
    protocol: str = ""
    """How these were measured, and where they are printed."""


@frozen(kw_only=True)
class Preset:
    """A component with settings, a card of registry/tokenizers or registry/generators.

    Used like a component's name.
    """

    name: str
    summary: str
    use: str
    settings: Mapping[str, Any] = field(factory=dict)
    checkpoint: Mapping[str, Any] = field(factory=dict)
    """What of a released checkpoint fits this preset; for importers."""
    release: Release | None = None
    """Of a model that others published."""


@frozen(kw_only=True)
class Recipe:
    """Settings of trainings and sampling, a card of registry/recipes.

    A section takes its own by `recipe: NAME`.
    """

    name: str
    summary: str
    tokenizer_training: Mapping[str, Any] | None = None
    generator_training: Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] | None = None


@frozen(kw_only=True)
class ReferenceRow:
    """One published result: its name, and for each column of its card the number as printed."""

    title: str
    values: tuple[str | None, ...]


@frozen(kw_only=True)
class Reference:
    """Published results to show beside a run, a card of registry/references."""

    name: str
    summary: str
    source: str
    protocol: str
    columns: tuple[str, ...]
    rows: Mapping[str, ReferenceRow]


def load_references(names: Sequence[str], registry: Registry, where: str) -> tuple[Reference, ...]:
    """Cards with the rows asked for: "CARD" has all rows, "CARD/ROW" one.

    Raises UserError with the nearest names.
    """
    cards = registry.cards("references")
    found: dict[str, Reference] = {}
    for name in names:
        card, _, row = name.partition("/")
        if card not in cards and card not in PUBLISHED:
            known = [*cards, *PUBLISHED]
            raise UserError(f"{where}: unknown reference {card!r}; {nearest(card, known)}")
        if card in PUBLISHED:
            whole = published_results(card, registry)
        else:
            whole = read_card(Reference, cards[card], name=card)
        if row and row not in whole.rows:
            raise UserError(
                f"{where}: reference {card!r} has no row {row!r}; {nearest(row, whole.rows)}"
            )
        rows = {row: whole.rows[row]} if row else whole.rows
        before = found[card].rows if card in found else {}
        found[card] = attrs.evolve(whole, rows={**before, **rows})
    return tuple(found.values())


PUBLISHED: Mapping[str, tuple[Kind, tuple[str, ...]]] = {
    "published-tokenizers": ("tokenizer", ("rFID", "PSNR", "SSIM", "LPIPS")),
    "published-generators": ("generator", ("gFID",)),
}
"""References that are made from what the cards of presets say of their release."""


def published_results(name: str, registry: Registry) -> Reference:
    """The numbers that the authors of the presets of one kind published, a row for each preset."""
    kind, columns = PUBLISHED[name]
    rows = {}
    for card in registry.cards(PRESET_FOLDERS[kind]):
        preset = find_preset(kind, card, registry)
        if preset is not None and preset.release is not None and preset.release.results:
            results = preset.release.results
            rows[card] = ReferenceRow(title=card, values=tuple(map(results.get, columns)))
    return Reference(
        name=name,
        summary=f"Published {kind}s, as their authors measured them.",
        source="the cards of the presets, which name each source",
        protocol=(
            "each its own, mostly on ImageNet at 256 pixels: docs/zoo.md says how; not to be "
            "compared to the last digit"
        ),
        columns=columns,
        rows=rows,
    )


def find_preset(kind: Kind, name: str, registry: Registry) -> Preset | None:
    """The preset of that name, None when there is none."""
    path = registry.cards(PRESET_FOLDERS[kind]).get(name) if kind in PRESET_FOLDERS else None
    return read_card(Preset, path, name=name) if path else None


def preset_cards(registry: Registry) -> list[tuple[Kind, str]]:
    """Kind and name of every preset, tokenizers first."""
    return [
        (kind, name) for kind, folder in PRESET_FOLDERS.items() for name in registry.cards(folder)
    ]


def expand_preset(kind: Kind, choice: Choice, registry: Registry, where: str) -> Choice:
    """The component that a preset stands for, the choice's own settings over the preset's.

    Other choices are left unchanged.
    """
    if choice.use in registry.entries[kind]:
        return choice
    preset = find_preset(kind, choice.use, registry)
    if preset is None:
        known = {*registry.entries[kind], *registry.cards(PRESET_FOLDERS.get(kind, ""))}
        raise UserError(f"{where}: unknown {kind} {choice.use!r}; {nearest(choice.use, known)}")
    return Choice(preset.use, merge(preset.settings, choice.settings))


def load_recipe(name: Any, section: str, registry: Registry, where: str) -> Mapping[str, Any]:
    """What a recipe says of one section.

    Raises UserError when there is no such recipe or it says nothing of it.
    """
    if not isinstance(name, str):
        raise UserError(f"{where}: found {describe(name)}, expected a recipe's name")
    cards = registry.cards("recipes")
    if name not in cards:
        raise UserError(f"{where}: unknown recipe {name!r}; {nearest(name, cards)}")
    recipe = read_card(Recipe, cards[name], name=name)
    values: Mapping[str, Any] | None = getattr(recipe, section)
    if values is None:
        raise UserError(f"{where}: recipe {name!r} has no settings for {section}")
    return values
