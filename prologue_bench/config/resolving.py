"""Components and settings of experiments: profile, file, variant, --set, one over another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs

from prologue_bench.config.experiments import Experiment, Resolved, Variant
from prologue_bench.config.files import Overrides, Profile, load_profile
from prologue_bench.config.presets import expand_preset, load_recipe
from prologue_bench.config.search import sampling_at
from prologue_bench.config.sections import Section, merge, path_of, set_path
from prologue_bench.config.settings import (
    GeneratorTraining,
    Sampling,
    TokenizerTraining,
    plain_values,
)
from prologue_bench.config.structure import Choice, convert, structure
from prologue_bench.contracts.external import as_read
from prologue_bench.errors import UserError
from prologue_bench.guard import of_component, shown
from prologue_bench.registry import Kind, Registry

T = TypeVar("T")


def resolve_alone(
    kind: Kind, name: str, settings: Mapping[str, Any], profile: str | None, registry: Registry
) -> Resolved:
    """One component outside any ablation, with these settings over those of a profile, if named."""
    offering = (
        Profile(name="", summary="")
        if profile is None
        else load_profile(profile, registry, "profile")
    )
    resolver = Resolver(registry, offering, name)
    return resolver.resolve(kind, Choice(name, dict(settings)), kind)


class Resolver:
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
