"""The models of a finished run, found by its results in the store."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from prologue_bench.config.experiments import Resolved
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.config.search import sampling_at
from prologue_bench.config.settings import Sampling, plain_values
from prologue_bench.config.structure import structure
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.stage_kinds import (
    GENERATORS,
    TAKE_PRIOR,
    TOKENIZERS,
    TRAIN_GENERATOR,
    TRAIN_TOKENIZER,
)
from prologue_bench.errors import UserError, listed, shortened
from prologue_bench.pipeline.models import (
    GENERATOR_WEIGHTS,
    TOKENIZER_WEIGHTS,
    build_generator,
    build_tokenizer,
)
from prologue_bench.registry import Kind, Registry
from prologue_bench.results.schema import (
    ComponentSettings,
    Precisions,
    Results,
    RunRecord,
    RunSettings,
    Settings,
)
from prologue_bench.results.sources import find_variant, source_of
from prologue_bench.runs.finished import FinishedRun
from prologue_bench.runs.origins import check_origin
from prologue_bench.runs.published import HERE, Elsewhere
from prologue_bench.storage.artifacts import Artifact
from prologue_bench.storage.store import Store
from prologue_bench.storage.weights import built_for


@frozen
class Prior:
    """The generator that a tokenizer was trained with, as results describe it."""

    use: str
    settings: Settings


@frozen
class Weights:
    """The files of a run's weights, and their SHA-256 where that is known.

    `follow`: links to them are followed.
    """

    tokenizer: Path
    generator: Path
    digests: tuple[str | None, str | None] = (None, None)
    follow: bool = True


def load_run(
    results: Results,
    store: Store,
    registry: Registry,
    variant: str,
    seed: int,
    elsewhere: Elsewhere = HERE,
) -> FinishedRun:
    """The models of a variant and training seed.

    What the store lacks is fetched from the remotes that the results name, or `elsewhere`. A line
    says where a plugin's file is another than it was for the results. Raises
    UserError when the results have no such run, or its artifacts are no longer in the store and
    nowhere else, and PrologueBenchError when they cannot be fetched.
    """
    run = find_run(results, variant, seed)
    keys = {stage.stage: stage.key for stage in run.stages}
    if not find_variant(results, variant).layout:
        raise UserError(f"variant {variant!r} has no generator: its tokenizer has no ids")
    if not (run.unfinished or run.failures or set(keys) & set(GENERATORS)):
        raise UserError(
            f"variant {variant!r} has no generator, since no metric needed one; add one that does, "
            "such as gfid"
        )
    models = [_key(keys, stages, variant) for stages in (TOKENIZERS, GENERATORS)]
    description = describe_run(results, variant, seed)
    records = source_of(results, variant).components
    check_origin(records, "tokenizer", description.tokenizer.use, registry)
    check_origin(records, "generator", description.generator.use, registry)
    elsewhere.fetch(models, results, store)
    weights = Weights(
        _artifact(store, models[0]) / TOKENIZER_WEIGHTS,
        _artifact(store, models[1]) / GENERATOR_WEIGHTS,
    )
    found = build_run(description, images_of(results, variant), registry, weights)
    said, made = (
        [(each.name, each.length, each.vocabulary) for each in layout]
        for layout in (find_variant(results, variant).layout, found.tokenizer.layout)
    )
    if made != said:
        raise UserError(
            f"variant {shortened(variant)!r}: its settings give other tokens than its layout says"
        )
    return found


def images_of(results: Results, variant: str) -> ImageSpec:
    """What a variant's images look like; the data themselves are not looked for."""
    data = source_of(results, variant).data
    return ImageSpec(*data.shape, data.classes)


def chosen_run(results: Results, variant: str | None, seed: int | None) -> tuple[str, int]:
    """The variant and training seed that a command is about.

    The last variant and its first seed unless named.
    """
    name = results.variants[-1].name if variant is None else variant
    find_variant(results, name)
    trained = [run.seed for run in results.runs if run.variant == name]
    first = next((each for each in results.seeds if each in trained), results.seeds[0])
    return name, first if seed is None else seed


def describe_run(results: Results, variant: str, seed: int) -> RunSettings:
    """The settings of a run's models and of sampling from them.

    Raises UserError if none is there.
    """
    run, settings = find_run(results, variant, seed), find_variant(results, variant).settings
    made_by = {stage.stage for stage in run.stages}
    is_joint = TAKE_PRIOR in made_by
    prior = (
        structure(Prior, settings.tokenizer_training.get("prior"), "the results' prior")
        if is_joint
        else None
    )
    return RunSettings(
        variant=variant,
        training_seed=seed,
        profile=source_of(results, variant).profile,
        tokenizer=settings.tokenizer,
        generator=settings.generator
        if prior is None
        else ComponentSettings(use=prior.use, settings=prior.settings),
        sampling=plain_values(_sampling(run, settings.sampling)),
        precisions=structure(
            Precisions,
            {
                model: training["precision"]
                for model, stage, training in (
                    ("tokenizer", TRAIN_TOKENIZER, settings.tokenizer_training),
                    ("generator", TRAIN_GENERATOR, settings.generator_training),
                    ("generator", TAKE_PRIOR, settings.tokenizer_training),
                )
                # What is imported computes in float32.
                if stage in made_by and "precision" in training
            },
            "the results' precisions",
        ),
    )


def build_run(
    description: RunSettings, images: ImageSpec, registry: Registry, weights: Weights
) -> FinishedRun:
    """The models that settings describe.

    Raises UserError where they are none, or the weights do not fit. The description has every
    setting, so that the profile need not be there any more.
    """
    resolve = partial(_resolve, registry=registry)
    first = resolve("tokenizer", description.tokenizer)
    second = resolve("generator", description.generator)
    sampling = structure(Sampling, description.sampling, "the run's sampling")
    load = partial(built_for, follow=weights.follow)
    tokenizer = load(
        weights.tokenizer,
        "the tokenizer",
        lambda: build_tokenizer(first, images),
        weights.digests[0],
    )
    layout = tokenizer.layout
    generator = load(
        weights.generator,
        "the generator",
        lambda: build_generator(second, layout, images.labels),
        weights.digests[1],
    )
    return FinishedRun(
        description.variant,
        description.training_seed,
        images,
        tokenizer,
        generator,
        sampling,
        description.precisions,
    )


def find_run(results: Results, variant: str, seed: int) -> RunRecord:
    """The record of a run. Raises UserError when the results have none of that variant and seed."""
    find_variant(results, variant)
    runs = {run.seed: run for run in reversed(results.runs) if run.variant == variant}
    if seed not in runs:
        raise UserError(
            f"variant {shortened(variant)!r} has no training seed {seed}; "
            f"it has {listed(sorted(runs))}"
        )
    return runs[seed]


def _resolve(kind: Kind, section: ComponentSettings, registry: Registry) -> Resolved:
    return resolve_alone(kind, section.use, section.settings, None, registry)


def _key(keys: Mapping[str, str], stages: tuple[str, ...], variant: str) -> str:
    for stage in stages:
        if stage in keys:
            return keys[stage]
    raise UserError(f"variant {variant!r} was not trained to the end; run the ablation again")


def _artifact(store: Store, key: str) -> Artifact:
    artifact = store.find(key)
    if artifact is None:
        raise UserError(
            f"{store.root}: the artifact {key} of this run is not there; name its store, "
            "or run it again"
        )
    return artifact


def _sampling(run: RunRecord, settings: Settings) -> Sampling:
    sampling = structure(Sampling, settings, "the results' sampling")
    if sampling.search is None or run.search is None:
        return evolve(sampling, search=None)
    return sampling_at(sampling, run.search.chosen, "the results' search")
