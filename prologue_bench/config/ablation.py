"""An ablation file: read, checked and expanded into one experiment for each variant and seed."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
from attrs import frozen

from prologue_bench.config.files import (
    EQUIVALENCE_MARGIN,
    LARGEST_SEED,
    AblationFile,
    Overrides,
    Profile,
    load_profile,
    read_ablation_file,
)
from prologue_bench.config.presets import Reference, expand_preset, load_recipe, load_references
from prologue_bench.config.search import sampling_at
from prologue_bench.config.sections import (
    SECTIONS,
    Section,
    make_sections,
    merge,
    path_of,
    set_path,
)
from prologue_bench.config.settings import (
    GeneratorTraining,
    Sampling,
    TokenizerTraining,
    plain_values,
)
from prologue_bench.config.structure import Choice, convert, structure
from prologue_bench.contracts.components import Component
from prologue_bench.contracts.external import as_read
from prologue_bench.documents.describing import describe
from prologue_bench.documents.reading import Document, read_document
from prologue_bench.errors import UserError, nearest
from prologue_bench.guard import of_component, shown
from prologue_bench.registry import Kind, Registry
from prologue_bench.storage.files import user_path
from prologue_bench.texts.settings import normal, same, short_names, value_labels, within

T = TypeVar("T")

MOST_VARIANTS = 100
MOST_RUNS = 500
"""Planning takes time for each; several files do what one cannot."""


@frozen
class Resolved:
    """A component with its checked settings."""

    component: Component
    settings: Any
    same: Resolved | None = None
    """Another component that is the same with these settings, where the settings' `same_as` names
    one."""

    @property
    def name(self) -> str:
        """The component's name."""
        return self.component.name

    @property
    def kept_as(self) -> Resolved:
        """Component and settings under which artifacts are kept, so that the same is made once."""
        return self.same or self


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
    """One variant with one training seed and one sampling seed, fully resolved.

    The sampling settings are searched for, where that is asked, once for all sampling seeds, with
    `sampling.seed`.
    """

    variant: Variant
    seed: int
    sampling_seed: int
    data: Resolved
    tokenizer: Resolved
    tokenizer_training: TokenizerTraining
    prior: Resolved | None
    """None where none is named and no installed generator is the default."""
    generator: Resolved
    generator_training: GeneratorTraining
    sampling: Sampling
    metrics: tuple[Resolved, ...]
    losses: tuple[Resolved, ...] = ()
    foundation: Resolved | None = None
    search_metric: Resolved | None = None

    @property
    def name(self) -> str:
        """Variant and seed, for displays and logs."""
        return f"{self.variant.name} seed {self.seed}"


@frozen(kw_only=True)
class Ablation:
    """A checked ablation: all experiments, seeds outermost so that whole comparisons finish early.

    `sampling_seeds` is empty where `sampling.seed` holds for all.
    """

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
    references: tuple[Reference, ...] = ()
    sampling_seeds: tuple[int, ...] = ()
    equivalence_margin: float = EQUIVALENCE_MARGIN
    """As a share of the baseline."""
    skip_missing_weights: bool = False
    """Whether variants without their released weights are left out."""
    skipped: tuple[str, ...] = ()
    """Variants that were left out, with the reason."""
    primary: str = ""
    """The measurement that decides which variant wins; empty takes the first of the samples."""
    leaderboard: tuple[str, ...] = ()
    """Measurements to show beside it."""
    first_tokens: tuple[int, ...] = ()
    """Numbers of first tokens to compare at, beyond those of the variants' leading segments."""
    overrides: Overrides = attrs.field(factory=Overrides, eq=False)
    """What the command line put over the file."""
    document: Document = attrs.field(factory=lambda: Document("", {}), eq=False, repr=False)
    """What was read: it names the lines of what is found to be wrong later."""
    registry: Registry = attrs.field(factory=Registry, eq=False, repr=False)
    """What the ablation's names stand for: with its own plugins, and no other ablation's."""

    def with_more_seeds(self, count: int) -> Ablation:
        """The ablation with so many training seeds: behind its own, those after the largest.

        Raises UserError where that makes more runs than can be planned.
        """
        draws = max(1, len(self.sampling_seeds))
        _check_run_count(len(self.variants), count, draws, self.path)
        largest = max(self.seeds)
        added = range(largest + 1, largest + 1 + count - len(self.seeds))
        if added and added[-1] > LARGEST_SEED:
            raise UserError(f"{self.path}: seeds: found {largest}, and no larger ones can be added")
        firsts = [each for each in self.experiments if each.seed == self.seeds[0]]
        more = [attrs.evolve(each, seed=seed) for seed in added for each in firsts]
        return attrs.evolve(
            self, seeds=(*self.seeds, *added), experiments=(*self.experiments, *more)
        )

    def with_variants(self, names: Collection[str]) -> Ablation:
        """The ablation with some of its variants alone; without the baseline if that is none."""
        return attrs.evolve(
            self,
            variants=tuple(each for each in self.variants if each.name in names),
            experiments=tuple(each for each in self.experiments if each.variant.name in names),
            baseline=self.baseline if self.baseline in names else None,
        )

    def with_seeds(self, seeds: Sequence[int]) -> Ablation:
        """The ablation with some of its training seeds alone."""
        kept = tuple(each for each in self.experiments if each.seed in seeds)
        return attrs.evolve(self, seeds=tuple(seeds), experiments=kept)


def load_ablation(path: Path, registry: Registry, overrides: Overrides | None = None) -> Ablation:
    """Read, check and expand an ablation file.

    Its own plugins are added to a copy of `registry`, which stays as it is. Raises UserError in one
    line for every mistake.
    """
    overrides = overrides or Overrides()
    document = attrs.evolve(read_document(path, str(path)), options=overrides.places())
    with document.naming_lines():
        file = read_ablation_file(document, path, overrides)
        registry = registry.copy()
        for index, plugin in enumerate(file.plugins):
            place = f"{document.where}: plugins[{index}]"
            registry.add_file(path.parent / user_path(plugin), place)
        with registry.blaming(UserError):
            return _checked(document, file, registry, overrides)


def _checked(
    document: Document, file: AblationFile, registry: Registry, overrides: Overrides
) -> Ablation:
    where = document.where
    profile = load_profile(file.profile, registry, f"{where}: profile")
    resolver = _Resolver(registry, profile, where)
    base = make_sections({name: getattr(file, name) for name in SECTIONS}, where)
    for key, value in overrides.settings:
        if key.split(".")[0] in SECTIONS:
            set_path(base, key, value, where="--set ")
    variants = _variants(file, where)
    _check_overrides_count(overrides, variants)
    metrics = tuple(
        resolver.resolve("metric", choice, f"{where}: metrics[{i}]")
        for i, choice in enumerate(
            map(Choice, registry.defaults("metric", "metrics"))
            if file.metrics is None
            else file.metrics
        )
    )
    _check_measured_once(metrics, f"{where}: metrics")
    firsts = [
        resolver.experiment(base, variant, file.seeds[0], metrics, overrides)
        for variant in variants
    ]
    _check_no_twins(firsts, where)
    trained = (attrs.evolve(first, seed=seed) for seed in file.seeds for first in firsts)
    experiments = tuple(
        sampled for one in trained for sampled in _sampled(one, file.sampling_seeds)
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
        references=load_references(file.references, registry, f"{where}: references"),
        sampling_seeds=file.sampling_seeds,
        equivalence_margin=file.equivalence_margin,
        skip_missing_weights=file.skip_missing_weights,
        primary=file.primary,
        leaderboard=file.leaderboard,
        first_tokens=file.first_tokens,
        overrides=overrides,
        document=document,
        registry=registry,
    )


def _check_no_twins(experiments: Sequence[Experiment], where: str) -> None:
    """Raises UserError for two variants of `vary` that come to the same settings.

    One of them may give a default once more.
    """
    seen: dict[str, Variant] = {}
    for experiment in experiments:
        variant = experiment.variant
        settings = repr(_resolved(experiment))
        twin = seen.setdefault(settings, variant)
        if twin.name != variant.name and (varied := variant.values.keys() - variant.named):
            raise UserError(
                f"{where}: vary.{min(varied)}: {twin.name!r} and {variant.name!r} are one variant, "
                "all their settings are equal; give each value once"
            )


_NO_VARIANT = Variant(name="", values={})


def _resolved(experiment: Experiment) -> Experiment:
    """The experiment without its name, and without choices that it holds resolved beside them."""
    training = attrs.evolve(experiment.tokenizer_training, losses=(), prior=_NO_CHOICE)
    sampling = experiment.sampling
    if sampling.search is not None:
        sampling = attrs.evolve(sampling, search=attrs.evolve(sampling.search, metric=_NO_CHOICE))
    return attrs.evolve(
        experiment, variant=_NO_VARIANT, tokenizer_training=training, sampling=sampling
    )


_NO_CHOICE = Choice("")


def _check_overrides_count(overrides: Overrides, variants: Sequence[Variant]) -> None:
    """Raises UserError for a --set of what is varied.

    Each variant would put its own value in its place.
    """
    varied = variants[0].values.keys() - variants[0].named
    for key, _ in overrides.settings:
        for name in sorted(varied):
            if key == name or key.startswith(f"{name}."):
                raise UserError(
                    f"--set {key}: vary.{name} sets it for every variant; "
                    f"use --set vary.{name}=[...] instead"
                )


def _check_measured_once(metrics: Sequence[Resolved], where: str) -> None:
    """Two metrics of one component give numbers of one name, of which only the last were seen."""
    for index, metric in enumerate(metrics):
        before = [each.name for each in metrics[:index]]
        if metric.name not in before:
            continue
        first = before.index(metric.name)
        if metrics[first] == metric:
            raise UserError(
                f"{where}[{index}]: the same as metrics[{first}], {metric.name!r}; expected it once"
            )
        raise UserError(
            f"{where}[{index}]: {metric.name!r} is in metrics[{first}] with other settings "
            "already, and both would give numbers of one name; "
            "run the second by itself with --set metrics=[...] and --out, "
            "which trains nothing again"
        )


def _check_losses_differ(losses: Sequence[Resolved], where: str) -> None:
    """Losses of one component are told apart by their settings.

    Twice the same is a mistake or a weight.
    """
    for index, loss in enumerate(losses):
        if loss in losses[:index]:
            first = losses.index(loss)
            raise UserError(
                f"{where}[{index}]: the same as losses[{first}], {loss.name!r}; expected it once, "
                "or another weight"
            )


def _sampled(experiment: Experiment, seeds: Sequence[int]) -> list[Experiment]:
    """The experiment with each sampling seed; as it is where there are none."""
    if not seeds:
        return [experiment]
    return [attrs.evolve(experiment, sampling_seed=seed) for seed in seeds]


def resolve_alone(
    kind: Kind, name: str, settings: Mapping[str, Any], profile: str | None, registry: Registry
) -> Resolved:
    """One component outside any ablation, with these settings over those of a profile, if named."""
    offering = (
        Profile(name="", summary="")
        if profile is None
        else load_profile(profile, registry, "profile")
    )
    resolver = _Resolver(registry, offering, name)
    return resolver.resolve(kind, Choice(name, dict(settings)), kind)


def _variants(file: AblationFile, where: str) -> tuple[Variant, ...]:
    named = [
        Variant(name=str(name), values=_checked_changes(changes or {}, f"{where}: variants.{name}"))
        for name, changes in file.variants.items()
    ]
    for base in named:
        for key in base.values:
            _check_one_data_set(key, f"{where}: variants.{base.name}.{key}")
    axes = _axes(file.vary, where)
    _check_runs(max(1, len(named)) * math.prod(map(len, axes)), file, where)
    variants = []
    for base in named or [Variant(name="", values={})]:
        for combination in itertools.product(*axes):
            parts = [base.name] if base.name else []
            parts += [choice.text for choice in combination]
            variants.append(
                Variant(
                    name=", ".join(parts) or file.name,
                    values={**base.values, **{choice.key: choice.value for choice in combination}},
                    named=frozenset(base.values),
                )
            )
    for name, count in Counter(variant.name for variant in variants).items():
        if count > 1:
            raise UserError(f"{where}: vary: two variants are both {name!r}; give each value once")
    return tuple(variants)


def _check_runs(variants: int, file: AblationFile, where: str) -> None:
    """Raises UserError for more variants, or runs of them, than can be planned in a moment."""
    if variants > MOST_VARIANTS:
        raise UserError(
            f"{where}: found {variants} variants, expected at most {MOST_VARIANTS}; "
            "split them over several files"
        )
    _check_run_count(variants, len(file.seeds), max(1, len(file.sampling_seeds)), where)


def _check_run_count(variants: int, seeds: int, draws: int, where: str) -> None:
    """Raises UserError for more runs than can be planned in a moment."""
    if variants * seeds * draws > MOST_RUNS:
        counts = [
            f"{variants} variants",
            f"{seeds} seeds",
            *([f"{draws} sampling seeds"] if draws > 1 else []),
        ]
        raise UserError(
            f"{where}: found {' x '.join(counts)}, expected at most {MOST_RUNS} runs; "
            "split them over several files, or over calls with --seeds"
        )


@frozen
class _Choice:
    """One value of a setting that is varied, and how a variant's name tells it."""

    key: str
    value: Any
    text: str


def _axes(vary: Mapping[str, Any], where: str) -> list[list[_Choice]]:
    """The choices of each setting that is varied.

    Raises UserError for what is no list, and for a value given twice.
    """
    names = short_names(list(vary))
    axes = []
    for key, values in vary.items():
        _check_one_data_set(key, f"{where}: vary.{key}")
        if not isinstance(values, list) or not values:
            raise UserError(
                f"{where}: vary.{key}: found {describe(values)}, expected a list of values"
            )
        if len(values) > MOST_VARIANTS:
            raise UserError(
                f"{where}: vary.{key}: found {len(values)} values, expected at most {MOST_VARIANTS}"
            )
        choices = [
            _Choice(key, value, f"{names[key]}={label}")
            for value, label in zip(values, value_labels(values), strict=True)
        ]
        seen = set()
        for choice in choices:
            if (meaning := normal(choice.value)) in seen:
                name = f"{names[key]}={value_labels([choice.value])[0]}"
                raise UserError(
                    f"{where}: vary.{key}: two variants are both {name!r}; give each value once"
                )
            seen.add(meaning)
        axes.append(choices)
    return axes


def _check_one_data_set(key: str, where: str) -> None:
    """Raises UserError for a variant with data of its own: results are of one data set."""
    if key.split(".")[0] == "data":
        raise UserError(
            f"{where}: the data cannot vary inside an ablation; run it once for each data set, "
            "such as with --set data=NAME --out FOLDER, and put the results into one report with "
            "'prologue-bench report FOLDER FOLDER --out BOTH'"
        )


def _checked_changes(changes: Any, where: str) -> dict[str, Any]:
    """The settings of a named variant, by dotted path."""
    if not isinstance(changes, Mapping):
        raise UserError(f"{where}: found {describe(changes)}, expected a mapping of settings")
    return {str(key): value for key, value in changes.items()}


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
            f"{where}: found {describe(value)}, expected a variant's name or the settings that "
            "single it out"
        )
    matches = [
        v.name
        for v in variants
        if all(k in v.values and same(x, v.values[k]) for k, x in value.items())
    ]
    matches = matches or [
        v.name for v in variants if within(_nested(value, where), _nested(v.values, where))
    ]
    if len(matches) != 1:
        raise UserError(
            f"{where}: {describe(value)} fits {len(matches)} variants, expected exactly one of: "
            f"{'; '.join(names)}"
        )
    return matches[0]


def _nested(values: Mapping[str, Any], where: str) -> dict[str, Section]:
    """Settings by dotted name as their sections; a plain name stands for {use: name}."""
    sections: dict[str, Section] = {str(key).split(".")[0]: {} for key in values}
    for key, value in values.items():
        set_path(sections, str(key), value, f"{where}.")
    return sections


class _Resolver:
    """Puts profile, file, variant and overrides together.

    The result is checked against the components' settings.
    """

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
        # The whole of a section before parts of it, which another component would drop.
        for key, value in sorted(variant.values.items(), key=lambda item: item[0].count(".")):
            set_path(
                sections,
                key,
                value,
                where=f"{self.where}: {variant.place_of(key).removesuffix(key)}",
            )
        try:
            return self._resolve(sections, variant, seed, metrics)
        except UserError as error:
            places = {key: f"--set {key}" for key, _ in overrides.settings}
            places |= {key: f"{self.where}: {variant.place_of(key)}" for key in variant.values}
            raise UserError(_replace_place(str(error), self.where, places)) from None

    def _resolve(
        self,
        sections: dict[str, Section],
        variant: Variant,
        seed: int,
        metrics: tuple[Resolved, ...],
    ) -> Experiment:
        training = self.settings(TokenizerTraining, "tokenizer_training", sections)
        training = attrs.evolve(
            training, prior=training.prior or self._default("generator", "prior")
        )
        tokenizer = self.component("tokenizer", sections["tokenizer"])
        sampling = self._with_search_metric(self.settings(Sampling, "sampling", sections))
        losses = tuple(
            self.resolve("loss", choice, f"{self.where}: tokenizer_training.losses[{index}]")
            for index, choice in enumerate(training.losses)
        )
        _check_losses_differ(losses, f"{self.where}: tokenizer_training.losses")
        return Experiment(
            variant=variant,
            seed=seed,
            sampling_seed=sampling.seed,
            data=self.component("data", sections["data"]),
            tokenizer=tokenizer,
            tokenizer_training=training,
            prior=self._prior(training),
            generator=self.component("generator", sections["generator"]),
            generator_training=self.settings(GeneratorTraining, "generator_training", sections),
            sampling=sampling,
            metrics=metrics,
            losses=losses,
            foundation=self.foundation(tokenizer),
            search_metric=self._search_metric(sampling),
        )

    def _prior(self, training: TokenizerTraining) -> Resolved | None:
        if training.prior is None:
            return None
        return self.resolve("generator", training.prior, f"{self.where}: tokenizer_training.prior")

    def _default(self, kind: Kind, role: str) -> Choice | None:
        """The component that is taken where none is named."""
        names = self.registry.defaults(kind, role)
        return Choice(names[0]) if names else None

    def _with_search_metric(self, sampling: Sampling) -> Sampling:
        """The settings with the metric that decides where a search names none."""
        if sampling.search is None or sampling.search.metric is not None:
            return sampling
        metric = self._default("metric", "search")
        return attrs.evolve(sampling, search=attrs.evolve(sampling.search, metric=metric))

    def _search_metric(self, sampling: Sampling) -> Resolved | None:
        """The metric that decides, once every point of the grid is known to be a valid setting."""
        if sampling.search is None:
            return None
        where = f"{self.where}: sampling.search"
        if sampling.search.metric is None:
            raise UserError(
                f"{where}.metric: missing, expected a metric of samples; "
                "no installed one is the default"
            )
        for point in sampling.search.points():
            sampling_at(sampling, point, f"{where}.grid")
        return self.resolve("metric", sampling.search.metric, f"{where}.metric")

    def settings(self, cls: type[T], name: str, sections: Mapping[str, Section]) -> T:
        """A section's settings, over those of the recipe that it names, or else the profile's."""
        section, where = dict(sections[name]), f"{self.where}: {name}"
        recipe = section.pop("recipe", None)
        below = getattr(self.profile, name) if recipe is None else {"recipe": recipe}
        from_profile = f" (from {self._profile})" if recipe is None else ""
        below = self._with_recipe(below, name, f"{where}.recipe{from_profile}")
        source = self._profile if recipe is None else f"recipe {recipe!r}"
        with _told(where, section, below, source):
            return structure(cls, merge(below, section, where), where)

    @property
    def _profile(self) -> str:
        more = ", or what it extends" if self.profile.extends else ""
        return f"profile {self.profile.name!r}{more}"

    def _with_recipe(self, values: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
        """The values over those of the recipe that they name at a place."""
        if "recipe" not in values:
            return values
        own = {key: value for key, value in values.items() if key != "recipe"}
        recipe = load_recipe(values["recipe"], name, self.registry, where)
        merged: Mapping[str, Any] = merge(recipe, own, f"{self.where}: {name}")
        return merged

    def foundation(self, tokenizer: Resolved) -> Resolved | None:
        """The tokenizer that this one builds on, where it names one."""
        if not tokenizer.component.builds_on:
            return None
        who = f"{self.where}: {tokenizer.component.called('tokenizer')}: `foundation`"
        cls = tokenizer.component.load()
        with of_component(who):
            base = _name_and_settings(cls.foundation(tokenizer.settings))
        if base is None:
            return None
        component = self.registry.find("tokenizer", base[0], f"{self.where}: tokenizer")
        settings = component.load_settings()
        with of_component(who):
            return Resolved(component, settings(**base[1]))

    def component(self, kind: Kind, section: Section) -> Resolved:
        where = f"{self.where}: {kind}"
        return self.resolve(kind, convert(Choice, section, where), where)

    def resolve(self, kind: Kind, choice: Choice, where: str) -> Resolved:
        choice = expand_preset(kind, choice, self.registry, where)
        component = self.registry.find(kind, choice.use, where)
        settings = component.load_settings()
        offers = self.profile.offers if component.takes_offers else {}
        offered = {key: value for key, value in offers.items() if key in _names(settings)}
        values = merge(offered, choice.settings, where)
        who = f"{where}: settings of {component.called(kind)}"
        with of_component(who), _told(where, choice.settings, offered, self._profile):
            checked = structure(settings, values, where, owner=f"{kind} {choice.use!r}")
            json.dumps(plain_values(as_read(checked)))  # as keys hold them
        return Resolved(component, checked, self._same(kind, checked, who))

    def _same(self, kind: Kind, settings: Any, who: str) -> Resolved | None:
        """The component that another is with these settings; None where its plugin is not there."""
        with of_component(who):
            found = _name_and_settings(settings.same_as()) if hasattr(settings, "same_as") else None
            if found is None or found[0] not in self.registry.entries[kind]:
                return None
            component = self.registry.find(kind, found[0])
            return Resolved(component, component.load_settings()(**found[1]))


def _name_and_settings(found: object) -> tuple[str, Mapping[str, Any]] | None:
    """What a plugin names another component by. Raises TypeError for something else."""
    if found is None:
        return None
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], str)):
        raise TypeError(f"found {shown(found)}, expected a name and settings, or None")
    return found[0], dict(found[1])


@contextmanager
def _told(
    where: str, given: Mapping[str, Any], below: Mapping[str, Any], source: str
) -> Iterator[None]:
    """A mistake in a value that is not given, but taken from `below`, names the source of that."""
    try:
        yield
    except UserError as error:
        place, colon, rest = str(error).removeprefix(where).partition(": ")
        keys = re.findall(r"\w+", place)
        if not (colon and str(error).startswith(f"{where}.") and keys) or _has(given, keys):
            raise
        if not _has(below, keys):
            raise
        raise UserError(f"{where}{place} (from {source}): {rest}") from None


def _has(values: Any, keys: Sequence[str]) -> bool:
    """Whether nested settings hold a value at these keys, or instead of one on the way."""
    for key in keys:
        if not isinstance(values, Mapping):
            return True
        if key not in values:
            return False
        values = values[key]
    return True


def _replace_place(text: str, where: str, places: Mapping[str, str]) -> str:
    """Blame a mistake on the line of `vary`, `variants` or --set that brought it."""
    for key in sorted(places, key=len, reverse=True):
        start = f"{where}: {path_of(key)}"
        if text.startswith((f"{start}:", f"{start}.", f"{start}[")):
            return places[key] + text.removeprefix(start)
    return text


def _names(settings: type[Any]) -> Iterable[str]:
    return [field.name for field in attrs.fields(settings)]
