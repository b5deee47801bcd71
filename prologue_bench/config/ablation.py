"""An ablation file: read, checked and expanded into one experiment for each variant and seed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import attrs
from attrs import frozen

from prologue_bench.config.experiments import Experiment, Resolved, Variant
from prologue_bench.config.files import (
    EQUIVALENCE_MARGIN,
    LARGEST_SEED,
    AblationFile,
    Overrides,
    load_profile,
    read_ablation_file,
)
from prologue_bench.config.presets import Reference, load_references
from prologue_bench.config.resolving import Resolver
from prologue_bench.config.sections import SECTIONS, make_sections, set_path
from prologue_bench.config.structure import Choice
from prologue_bench.config.variants import baseline_of, check_run_count, variants_of
from prologue_bench.documents.reading import Document, read_document
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from prologue_bench.storage.files import user_path


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
        check_run_count(len(self.variants), count, draws, self.path)
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
    resolver = Resolver(registry, profile, where)
    base = make_sections({name: getattr(file, name) for name in SECTIONS}, where)
    for key, value in overrides.settings:
        if key.split(".")[0] in SECTIONS:
            set_path(base, key, value, where="--set ")
    variants = variants_of(file, where)
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
        baseline=baseline_of(file.baseline, variants, f"{where}: baseline"),
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


def _sampled(experiment: Experiment, seeds: Sequence[int]) -> list[Experiment]:
    """The experiment with each sampling seed; as it is where there are none."""
    if not seeds:
        return [experiment]
    return [attrs.evolve(experiment, sampling_seed=seed) for seed in seeds]
