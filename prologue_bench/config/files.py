"""What stands in an ablation's file and in a profile card, read and checked key by key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import attrs
from attrs import field, frozen

from prologue_bench.config.sections import SECTIONS, merge, nested, parse_override, path_of
from prologue_bench.config.structure import Choice, structure
from prologue_bench.documents.describing import describe
from prologue_bench.documents.reading import Document, read_document
from prologue_bench.errors import UserError, nearest, shortened
from prologue_bench.numbers import LARGEST_INTEGER
from prologue_bench.registry import Registry, built_in_cards
from prologue_bench.storage.names import name_problem

LARGEST_SEED = LARGEST_INTEGER
"""Seeds are hashed; any number would do, but readers of results.json hold larger ones as floats."""

EQUIVALENCE_MARGIN = 0.05
MOST_SHOWN = 5
"""Measurements that fit beside sizes on a page."""

T = TypeVar("T")


@frozen(kw_only=True)
class AblationFile:
    """The keys of an ablation's YAML."""

    name: str
    title: str = ""
    description: str = ""
    profile: str
    data: Any
    tokenizer: Any
    generator: Any
    tokenizer_training: Mapping[str, Any] = field(factory=dict)
    generator_training: Mapping[str, Any] = field(factory=dict)
    sampling: Mapping[str, Any] = field(factory=dict)
    vary: Mapping[str, Any] = field(factory=dict)
    variants: Mapping[str, Any] = field(factory=dict)
    seeds: tuple[int, ...] = (0,)
    sampling_seeds: tuple[int, ...] = ()
    """Each training is sampled from with each of these; empty takes `sampling.seed` alone."""
    baseline: Any = None
    equivalence_margin: float = EQUIVALENCE_MARGIN
    """How far from the baseline a variant may be and still count as equivalent, as a share of the
    baseline. All verdicts go by it, and with them `run --until-decided`."""
    primary: str = ""
    """The measurement that decides which variant wins; empty takes the first of the samples."""
    leaderboard: tuple[str, ...] = ()
    """Measurements that the report's first table shows beside the primary one."""
    first_tokens: tuple[int, ...] = ()
    """Numbers of first tokens to compare at, beyond those of the variants' leading segments."""
    metrics: tuple[Choice, ...] | None = None
    """By default those that declare it."""
    skip_missing_weights: bool = False
    """Whether variants whose tokenizer's released weights are not there are left out and listed; by
    default they are a mistake."""
    references: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    """Python files with hook implementations, relative to this file."""


@frozen(kw_only=True)
class Profile:
    """Sizes and budgets, a card of registry/profiles.

    `offers` are defaults for components: each takes those that it declares a setting for, unless
    its `takes_offers` is False.
    """

    name: str
    summary: str
    extends: str = ""
    """The profile whose settings hold where this one is silent. A section that names a recipe
    takes nothing from it."""
    offers: Mapping[str, Any] = field(factory=dict)
    tokenizer_training: Mapping[str, Any] = field(factory=dict)
    generator_training: Mapping[str, Any] = field(factory=dict)
    sampling: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Overrides:
    """What the command line puts over the file: --set, --profile and --seeds."""

    values: tuple[str, ...] = ()
    profile: str | None = None
    seeds: tuple[int, ...] | None = None

    @cached_property
    def settings(self) -> tuple[tuple[str, Any], ...]:
        """The --set values by their dotted keys. Raises UserError."""
        return tuple(map(parse_override, self.values))

    def places(self) -> dict[str, str]:
        """What messages call overridden paths: "--set metrics.0.images" for "metrics[0].images"."""
        places = {path_of(key): f"--set {key}" for key, _ in self.settings}
        if self.profile is not None:
            places["profile"] = "--profile"
        if self.seeds is not None:
            places["seeds"] = "--seeds"
        return places


def read_card(cls: type[T], path: Path, **given: str) -> T:
    """A card of registry/ as the attrs class `cls`, with what is given of it from elsewhere.

    Raises UserError, with the line, for what is wrong in it.
    """
    document = read_document(path, str(path))
    with document.naming_lines():
        for key in given:
            if key in document.values:
                raise UserError(f"{path}: {key}: found one, expected none: it is that of the file")
        return structure(cls, {**given, **document.values}, f"{path}:")


def load_profile(name: str, registry: Registry, where: str, above: tuple[str, ...] = ()) -> Profile:
    """The profile card of that name, over those that it extends; those `above` extend it.

    Raises UserError with the nearest names, for profiles that extend each other, and for offers
    that no component takes.
    """
    cards = registry.cards("profiles")
    if name not in cards:
        raise UserError(f"{where}: unknown profile {name!r}; {nearest(name, cards)}")
    profile = read_card(Profile, cards[name], name=name)
    if not cards[name].is_relative_to(built_in_cards()):  # which are known to be right
        with _naming_lines(cards[name]):
            check_offers(profile, f"{cards[name]}: offers", registry)
    below = profile.extends
    if not below:
        return profile
    with _naming_lines(cards[name]):
        place = f"{cards[name]}: extends"
        if below in (name, *above):
            raise UserError(f"{place}: profile {below!r} extends {name!r} itself; expected an end")
        if below not in cards:
            raise UserError(f"{place}: unknown profile {below!r}; {nearest(below, cards)}")
        extended = load_profile(below, registry, place, (*above, name))
        return _over(profile, extended, f"{cards[name]}: ")


def _naming_lines(path: Path) -> AbstractContextManager[None]:
    """Mistakes in a card that was read get the line of their place."""
    return read_document(path, str(path)).naming_lines()


def check_offers(profile: Profile, where: str, registry: Registry) -> None:
    """Raises UserError for an offer that no component has a setting for."""
    known: set[str] = set()
    for _, entry in registry:
        if entry.component.takes_offers:
            try:
                settings = entry.component.load_settings()
            except UserError:
                return  # it may be this one's
            known.update(attrs.fields_dict(settings))
    for name in profile.offers:
        if name not in known:
            raise UserError(
                f"{where}.{name}: no component has such a setting; {nearest(name, known)}"
            )


def _over(profile: Profile, below: Profile, where: str) -> Profile:
    """The profile with the other's settings where it has none of its own."""
    sections = {
        section: own if "recipe" in own else merge(getattr(below, section), own, where + section)
        for section in ("offers", "tokenizer_training", "generator_training", "sampling")
        for own in [getattr(profile, section)]
    }
    return attrs.evolve(profile, **sections)


def read_ablation_file(document: Document, path: Path, overrides: Overrides) -> AblationFile:
    """An ablation's file with --profile, --seeds and --set values outside an experiment."""
    raw, where = dict(document.values), document.where
    raw.setdefault("name", path.stem)
    if overrides.profile is not None:
        raw["profile"] = overrides.profile
    if overrides.seeds is not None:
        raw["seeds"] = list(overrides.seeds)
    for key, value in overrides.settings:
        _override_file(raw, key, value)
    if "metrics" in raw and raw["metrics"] is None:
        raise UserError(
            f"{where}: metrics: found nothing, expected a list, each a component's name or a "
            "mapping; leave the key out for the usual ones"
        )
    file = structure(AblationFile, raw, where + ":", owner="an ablation")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", file.name) or name_problem(file.name):
        found = describe(file.name)
        raise UserError(
            f"{where}: name: found {found}, expected letters, digits, '_', '-' and '.', "
            "no dot in front, at most 200"
        )
    if not file.seeds:
        raise UserError(f"{where}: seeds: found an empty list, expected at least one whole number")
    if not 0 < file.equivalence_margin < 1:
        raise UserError(
            f"{where}: equivalence_margin: found {file.equivalence_margin:g}, expected a share of "
            f"the baseline between 0 and 1, such as {EQUIVALENCE_MARGIN}"
        )
    if len(file.leaderboard) > MOST_SHOWN:
        raise UserError(
            f"{where}: leaderboard: found {len(file.leaderboard)} measurements, expected at most "
            f"{MOST_SHOWN}; the report has all others one click away"
        )
    if len(set(file.leaderboard)) != len(file.leaderboard):
        raise UserError(f"{where}: leaderboard: expected each measurement once")
    for count in file.first_tokens:
        if count < 1:
            raise UserError(f"{where}: first_tokens: found {count}, expected numbers from 1 on")
    _check_seeds(file.seeds, LARGEST_SEED, f"{where}: seeds")
    _check_seeds(file.sampling_seeds, LARGEST_SEED, f"{where}: sampling_seeds")
    return file


def _check_seeds(seeds: tuple[int, ...], largest: int, where: str) -> None:
    for seed in seeds:
        if not 0 <= seed <= largest:
            raise UserError(f"{where}: found {seed}, expected whole numbers from 0 to {largest}")
    if len(set(seeds)) != len(seeds):
        raise UserError(
            f"{where}: found {shortened(str(list(seeds)), 60)}, expected each seed once"
        )


def _override_file(raw: dict[str, Any], key: str, value: Any) -> None:
    """Put a --set value outside an experiment, such as metrics or vary.KEY, into what was read."""
    head, _, rest = key.partition(".")
    known = {field.name for field in attrs.fields(AblationFile)}
    if head not in known:
        raise UserError(f"--set {key}: unknown section {head!r}; {nearest(head, known)}")
    if head in SECTIONS:
        return
    if not rest:
        raw[head] = value
    elif head == "vary":
        raw[head] = _with_dotted(raw.get(head), rest, value, f"--set {head}")
    elif head == "variants":
        raw[head] = _with_variant(raw.get(head), rest, value, f"--set {head}")
    else:
        raw[head] = merge(raw.get(head), nested(rest, value), f"--set {head}")


def _with_dotted(settings: Any, key: str, value: Any, where: str) -> Any:
    """Settings by dotted name, one set, or an element of its list changed: "tokenizer.tokens.0"."""
    if not isinstance(settings, Mapping):
        return {key: value}
    for known in settings:
        if key.startswith(f"{known}.") and isinstance(settings[known], list):
            inside = nested(key.removeprefix(f"{known}."), value)
            return {**settings, known: merge(settings[known], inside, f"{where}.{known}")}
    return {**settings, key: value}


def _with_variant(variants: Any, key: str, value: Any, where: str) -> Any:
    """The named variants with one set, or a setting of the one of this name or number."""
    if not isinstance(variants, Mapping):
        return {key: value}
    names = list(variants)
    for index, name in enumerate(names):
        start = next((start for start in (f"{name}.", f"{index}.") if key.startswith(start)), None)
        if start is not None:
            changes = _with_dotted(
                variants[name], key.removeprefix(start), value, f"{where}.{name}"
            )
            return {**variants, name: changes}
    if re.match(r"\d+\.", key):
        raise UserError(
            f"{where}.{key}: there are {len(names)} variants, expected one of 0 to {len(names) - 1}"
        )
    return {**variants, key: value}
