"""What stands in an ablation's file and in a profile card, read and checked key by key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml
from attrs import field, frozen

from prologue_bench.errors import UserError, nearest
from prologue_bench.registry import Registry
from prologue_bench.spec import yaml_values
from prologue_bench.spec.sections import SECTIONS, parse_override
from prologue_bench.spec.structure import describe, structure

LARGEST_SEED = 2**53 - 1
"""Seeds are hashed; any number would do, but readers of results.json hold larger ones as floats."""


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
    metrics: tuple[Any, ...] = ("rfid", "gfid", "rate", "codebook")
    references: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    """Python files with hook implementations, relative to this file."""


@frozen(kw_only=True)
class Profile:
    """Sizes and budgets, a card of registry/profiles.

    `offers` are defaults for components: each takes those that it declares a setting for.
    """

    name: str
    summary: str
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


def read_yaml(path: Path, where: str) -> Mapping[str, Any]:
    """A YAML mapping, read with plain values only.

    Raises UserError with line and column for bad syntax and for a key that stands twice.
    """
    try:
        loaded = yaml_values.read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{where}: {place}not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(loaded, Mapping):
        raise UserError(f"{where}: found {describe(loaded)}, expected a mapping")
    return loaded


def load_profile(name: str, registry: Registry, where: str) -> Profile:
    """The profile card of that name. Raises UserError with the nearest names."""
    cards = registry.cards("profiles")
    if name not in cards:
        raise UserError(f"{where}: unknown profile {name!r}; {nearest(name, cards)}")
    return structure(Profile, {"name": name, **read_yaml(cards[name], str(cards[name]))}, str(cards[name]))


def read_ablation_file(path: Path, where: str, overrides: Overrides) -> AblationFile:
    """An ablation's file with --profile, --seeds and those --set values that are no part of an experiment."""
    raw = dict(read_yaml(path, where))
    raw.setdefault("name", path.stem)
    if overrides.profile is not None:
        raw["profile"] = overrides.profile
    if overrides.seeds is not None:
        raw["seeds"] = list(overrides.seeds)
    for key, value in map(parse_override, overrides.values):
        _override_file(raw, key, value)
    file = structure(AblationFile, raw, where + ":", owner="an ablation")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", file.name):
        raise UserError(f"{where}: name: found {file.name!r}, expected letters, digits, '_', '-' and '.'")
    if not file.seeds:
        raise UserError(f"{where}: seeds: found an empty list, expected at least one whole number")
    _check_seeds(file.seeds, LARGEST_SEED, f"{where}: seeds")
    _check_seeds(file.sampling_seeds, LARGEST_SEED, f"{where}: sampling_seeds")
    return file


def _check_seeds(seeds: tuple[int, ...], largest: int, where: str) -> None:
    for seed in seeds:
        if not 0 <= seed <= largest:
            raise UserError(f"{where}: found {seed}, expected whole numbers from 0 to {largest}")
    if len(set(seeds)) != len(seeds):
        raise UserError(f"{where}: found {list(seeds)}, expected each seed once")


def _override_file(raw: dict[str, Any], key: str, value: Any) -> None:
    """Put a --set value that is no part of an experiment, such as metrics or vary.KEY, into what was read."""
    head, _, rest = key.partition(".")
    known = {field.name for field in attrs.fields(AblationFile)}
    if head not in known:
        raise UserError(f"--set {key}: unknown section {head!r}; {nearest(head, known)}")
    if head in ("vary", "variants") and rest:
        raw[head] = {**(raw.get(head) or {}), rest: value}
    elif head not in SECTIONS:
        raw[key] = value
