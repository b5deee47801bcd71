"""An ablation file: read, checked and expanded into one experiment for each variant and seed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import yaml
from attrs import field, frozen

from prologue_bench.components import Component
from prologue_bench.errors import UserError, nearest
from prologue_bench.registry import Kind, Registry
from prologue_bench.spec.settings import GeneratorTraining, Sampling, TokenizerTraining
from prologue_bench.spec.structure import Choice, convert, describe, structure

SECTIONS = ("data", "tokenizer", "tokenizer_training", "generator", "generator_training", "sampling")
"""The parts of an experiment; paths in `vary`, `variants`, `baseline` and --set begin with one of them."""

LARGEST_SEED = 2**19 - 1
"""Seeds are mixed with step and rank into 64 bits."""

Section = dict[str, Any]


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
    baseline: Any = None
    metrics: tuple[Any, ...] = ("rfid", "gfid", "rate", "codebook")


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


@frozen
class Resolved:
    """A component with its checked settings."""

    component: Component
    settings: Any

    @property
    def name(self) -> str:
        """The component's name."""
        return self.component.name


@frozen(kw_only=True)
class Variant:
    """One column of the comparison: its name and the settings in which it differs."""

    name: str
    values: Mapping[str, Any]
    named: frozenset[str] = frozenset()
    """The settings that stand under `variants:`; the others stand under `vary:`."""

    def place_of(self, key: str) -> str:
        """Where in the file a setting of this variant stands."""
        return f"variants.{self.name}.{key}" if key in self.named else f"vary.{key}"


@frozen(kw_only=True)
class Experiment:
    """One variant with one training seed, fully resolved."""

    variant: Variant
    seed: int
    data: Resolved
    tokenizer: Resolved
    tokenizer_training: TokenizerTraining
    prior: Resolved
    generator: Resolved
    generator_training: GeneratorTraining
    sampling: Sampling
    metrics: tuple[Resolved, ...]

    @property
    def name(self) -> str:
        """Variant and seed, for displays and logs."""
        return f"{self.variant.name} seed {self.seed}"


@frozen(kw_only=True)
class Ablation:
    """A checked ablation: all experiments, seeds outermost so that whole comparisons finish early."""

    name: str
    title: str
    description: str
    profile: str
    path: str
    variants: tuple[Variant, ...]
    baseline: str | None
    seeds: tuple[int, ...]
    varied: tuple[str, ...]
    experiments: tuple[Experiment, ...]


@frozen(kw_only=True)
class Overrides:
    """What the command line puts over the file: --set, --profile and --seeds."""

    values: tuple[str, ...] = ()
    profile: str | None = None
    seeds: tuple[int, ...] | None = None


def load_ablation(path: Path, registry: Registry, overrides: Overrides | None = None) -> Ablation:
    """Read, check and expand an ablation file. Raises UserError in one line for every mistake."""
    overrides = overrides or Overrides()
    where = str(path)
    file = _read_file(path, where, overrides)
    profile = load_profile(file.profile, registry, f"{where}: profile")
    resolver = _Resolver(registry, profile, where)
    base = _sections({name: getattr(file, name) for name in SECTIONS}, where)
    for key, value in map(parse_override, overrides.values):
        if key.split(".")[0] in SECTIONS:
            set_path(base, key, value, where="--set")
    variants = _variants(file, where)
    metrics = tuple(resolver.metric(value, f"{where}: metrics[{i}]") for i, value in enumerate(file.metrics))
    experiments = tuple(
        resolver.experiment(base, variant, seed, metrics, overrides) for seed in file.seeds for variant in variants
    )
    return Ablation(
        name=file.name,
        title=file.title or file.name,
        description=file.description,
        profile=profile.name,
        path=where,
        variants=variants,
        baseline=_baseline(file.baseline, variants, f"{where}: baseline"),
        seeds=file.seeds,
        varied=tuple(dict.fromkeys(key for variant in variants for key in variant.values)),
        experiments=experiments,
    )


def read_yaml(path: Path, where: str) -> Mapping[str, Any]:
    """A YAML mapping, read with safe_load. Raises UserError with line and column for bad syntax."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
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


def parse_override(text: str) -> tuple[str, Any]:
    """A --set argument KEY=VALUE, its value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: expected KEY=VALUE, such as tokenizer.prologue_tokens=8")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: the value is not valid YAML") from None


def set_path(sections: dict[str, Section], key: str, value: Any, where: str) -> None:
    """Put a value at a dotted path, in place. A new `use` drops the settings of the component before it."""
    head, *rest = key.split(".")
    if head not in SECTIONS:
        raise UserError(f"{where} {key}: unknown section {head!r}; {nearest(head, SECTIONS)}")
    if not rest:
        section = {"use": value} if isinstance(value, str) else value
        sections[head] = _merge(sections[head], _as_section(section, f"{where} {key}"))
        return
    nested: Any = value
    for part in reversed(rest):
        nested = {part: nested}
    sections[head] = _merge(sections[head], nested)


def _read_file(path: Path, where: str, overrides: Overrides) -> AblationFile:
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
    for seed in file.seeds:
        if not 0 <= seed <= LARGEST_SEED:
            raise UserError(f"{where}: seeds: found {seed}, expected whole numbers from 0 to {LARGEST_SEED}")
    if len(set(file.seeds)) != len(file.seeds):
        raise UserError(f"{where}: seeds: found {list(file.seeds)}, expected each seed once")
    return file


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


def _sections(values: Mapping[str, Any], where: str) -> dict[str, Section]:
    return {
        name: _as_section({"use": value} if isinstance(value, str) else value, f"{where}: {name}")
        for name, value in values.items()
    }


def _as_section(value: Any, where: str) -> Section:
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: found {describe(value)}, expected a name or a mapping")
    return {str(key): item for key, item in value.items()}


def _merge(below: Any, above: Any) -> Any:
    """`above` over `below`, mapping by mapping; another `use` replaces the whole mapping."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    if "use" in above and above["use"] != below.get("use"):
        return dict(above)
    merged = dict(below)
    for key, value in above.items():
        merged[key] = _merge(merged[key], value) if key in merged else value
    return merged


def _variants(file: AblationFile, where: str) -> tuple[Variant, ...]:
    named = [Variant(name=str(name), values=_checked_changes(changes or {}, f"{where}: variants.{name}"))
             for name, changes in file.variants.items()]  # fmt: skip
    axes = []
    for key, values in file.vary.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{where}: vary.{key}: found {describe(values)}, expected a list of values")
        axes.append([(key, value) for value in values])
    variants = []
    for base in named or [Variant(name="", values={})]:
        for combination in itertools.product(*axes):
            parts = [base.name] if base.name else []
            parts += [f"{key.rpartition('.')[2]}={_short(value)}" for key, value in combination]
            variants.append(
                Variant(
                    name=", ".join(parts) or file.name,
                    values={**base.values, **dict(combination)},
                    named=frozenset(base.values),
                )
            )
    names = [variant.name for variant in variants]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{where}: vary: two variants are both {name!r}; give each value once")
    return tuple(variants)


def _checked_changes(changes: Any, where: str) -> dict[str, Any]:
    """The settings of a named variant, by dotted path."""
    if not isinstance(changes, Mapping):
        raise UserError(f"{where}: found {describe(changes)}, expected a mapping of settings")
    return {str(key): value for key, value in changes.items()}


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("use", "/".join(f"{k}:{v}" for k, v in value.items())))
    return str(value)


def _baseline(value: Any, variants: Sequence[Variant], where: str) -> str | None:
    if value is None:
        return None
    names = [variant.name for variant in variants]
    if isinstance(value, str):
        if value not in names:
            raise UserError(f"{where}: no variant {value!r}; {nearest(value, names)}")
        return value
    if not isinstance(value, Mapping):
        raise UserError(
            f"{where}: found {describe(value)}, expected a variant's name or the settings that single it out"
        )
    matches = [v.name for v in variants if all(k in v.values and v.values[k] == x for k, x in value.items())]
    if len(matches) != 1:
        raise UserError(
            f"{where}: {dict(value)} fits {len(matches)} variants, expected exactly one of: {'; '.join(names)}"
        )
    return matches[0]


class _Resolver:
    """Puts profile, file, variant and overrides together and checks the result against the components' settings."""

    def __init__(self, registry: Registry, profile: Profile, where: str) -> None:
        self.registry = registry
        self.profile = profile
        self.where = where

    def experiment(
        self,
        base: Mapping[str, Section],
        variant: Variant,
        seed: int,
        metrics: tuple[Resolved, ...],
        overrides: Overrides,
    ) -> Experiment:
        sections = {name: dict(section) for name, section in base.items()}
        places = {key: f"--set {key}" for key, _ in map(parse_override, overrides.values)}
        for key, value in variant.values.items():
            places[key] = f"{self.where}: {variant.place_of(key)}"
            set_path(sections, key, value, where=f"{self.where}: {variant.place_of(key).removesuffix(key)}")
        try:
            return self._resolve(sections, variant, seed, metrics)
        except UserError as error:
            raise UserError(_replace_place(str(error), self.where, places)) from None

    def _resolve(
        self, sections: dict[str, Section], variant: Variant, seed: int, metrics: tuple[Resolved, ...]
    ) -> Experiment:
        training = structure(
            TokenizerTraining,
            _merge(self.profile.tokenizer_training, sections["tokenizer_training"]),
            f"{self.where}: tokenizer_training",
        )
        return Experiment(
            variant=variant,
            seed=seed,
            data=self.component("data", sections["data"]),
            tokenizer=self.component("tokenizer", sections["tokenizer"]),
            tokenizer_training=training,
            prior=self.resolve("generator", training.prior, f"{self.where}: tokenizer_training.prior"),
            generator=self.component("generator", sections["generator"]),
            generator_training=structure(
                GeneratorTraining,
                _merge(self.profile.generator_training, sections["generator_training"]),
                f"{self.where}: generator_training",
            ),
            sampling=structure(
                Sampling, _merge(self.profile.sampling, sections["sampling"]), f"{self.where}: sampling"
            ),
            metrics=metrics,
        )

    def component(self, kind: Kind, section: Section) -> Resolved:
        where = f"{self.where}: {kind}"
        return self.resolve(kind, convert(Choice, section, where), where)

    def metric(self, value: Any, where: str) -> Resolved:
        return self.resolve("metric", convert(Choice, value, where), where)

    def resolve(self, kind: Kind, choice: Choice, where: str) -> Resolved:
        component = self.registry.find(kind, choice.use, where)
        settings = component.load_settings()
        offered = {key: value for key, value in self.profile.offers.items() if key in _names(settings)}
        values = _merge(offered, choice.settings)
        return Resolved(component, structure(settings, values, where, owner=f"{kind} {choice.use!r}"))


def _replace_place(text: str, where: str, places: Mapping[str, str]) -> str:
    """Blame a mistake on the line of `vary`, `variants` or --set that brought it."""
    for key in sorted(places, key=len, reverse=True):
        if text.startswith((f"{where}: {key}:", f"{where}: {key}.", f"{where}: {key}[")):
            return places[key] + text.removeprefix(f"{where}: {key}")
    return text


def _names(settings: type[Any]) -> Iterable[str]:
    return [field.name for field in attrs.fields(settings)]
