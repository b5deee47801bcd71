"""From an ablation to the stages that it needs, in order, each once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from attrs import evolve, frozen

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.experiments import Experiment, Resolved
from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.contracts.generator import AutoregressiveGenerator
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.settings import differing_models
from prologue_bench.contracts.tokenizer import ContinuousTokenizer, Tokenizer
from prologue_bench.errors import MissingDataError, UserError, nearest
from prologue_bench.pipeline.checks import (
    OF_GENERATORS,
    Checks,
    LeftOut,
    check_measurement,
    shows_attention,
)
from prologue_bench.pipeline.estimates import Estimator
from prologue_bench.pipeline.flops import parameters, recorded_flops
from prologue_bench.pipeline.imported import find_imported, generator_fits, tokenizer_fits
from prologue_bench.pipeline.models import loss_class, needs_of
from prologue_bench.pipeline.pictures import SHARED_TOKENS, spread
from prologue_bench.pipeline.stages import (
    DataRef,
    EncodeImages,
    GeneratorStage,
    Imported,
    ImportedGenerator,
    ImportedTokenizer,
    Measure,
    PictureAttention,
    PictureReconstructions,
    PictureSamples,
    PictureStage,
    PictureTokens,
    Reconstruct,
    SampleImages,
    SearchSampling,
    Stage,
    TakePrior,
    TokenizerStage,
    TrainGenerator,
    TrainTokenizer,
)
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store


@frozen
class Pipeline:
    """The stages of one experiment."""

    experiment: Experiment
    tokenizer: TokenizerStage
    tokens: EncodeImages
    reconstructions: Reconstruct
    generator: GeneratorStage
    samples: SampleImages
    measures: tuple[Measure, ...]
    layout: TokenLayout
    left_out: tuple[LeftOut, ...] = ()
    """Metrics that were asked for and do not apply."""
    pictures: tuple[PictureStage, ...] = ()
    """Of the first seeds of a variant only."""

    @property
    def generates(self) -> bool:
        """Whether a generator is trained and sampled from: not for metrics of tokenizers alone."""
        if self.reconstructions.continuous:
            return False
        looked_at = [stage for measure in self.measures for stage in measure.inputs]
        is_looked_at = any(isinstance(stage, GeneratorStage | SampleImages) for stage in looked_at)
        return is_looked_at or not (self.measures or self.left_out)

    def stages(self) -> tuple[Stage, ...]:
        """All stages, each behind its inputs."""
        search = (self.samples.search,) if self.samples.search else ()
        generation = (self.generator, *search, self.samples) if self.generates else ()
        encoding = () if self.reconstructions.continuous else (self.tokens,)
        return (
            *self.tokenizer.inputs,
            self.tokenizer,
            *encoding,
            self.reconstructions,
            *generation,
            *self.measures,
            *self.pictures,
        )

    def is_measured(self, store: Store) -> bool:
        """Whether the store has every measurement."""
        return all(store.find(measure.key) is not None for measure in self.measures)


@frozen
class PlannedStage:
    """A stage with what is known before it runs."""

    stage: Stage
    experiment: str
    """The first experiment that needs it."""
    cached: bool
    seconds: float | None
    """Estimate; None where it is not known yet."""
    flops: float | None = None
    """Of the whole stage; None for metrics and where it was not counted."""
    parameters: int = 0
    """Of the models that it trains or takes over."""


@frozen
class Plan:
    """Everything that an ablation needs."""

    ablation: Ablation
    pipelines: tuple[Pipeline, ...]
    stages: tuple[PlannedStage, ...]
    notes: tuple[str, ...] = ()
    """Which metrics do not apply to which variants, and what else is missing while the data
    are."""

    @property
    def first_pipelines(self) -> tuple[Pipeline, ...]:
        """One pipeline per variant, that of the first seeds."""
        found: dict[str, Pipeline] = {}
        for pipeline in self.pipelines:
            found.setdefault(pipeline.experiment.variant.name, pipeline)
        return tuple(found.values())

    @property
    def missing(self) -> tuple[PlannedStage, ...]:
        """The stages still to run."""
        return tuple(planned for planned in self.stages if not planned.cached)

    def of_variants(self, names: Collection[str]) -> Plan:
        """The plan with the stages of these variants alone. Raises UserError for an unknown one."""
        known = [variant.name for variant in self.ablation.variants]
        for name in names:
            if name not in known:
                raise UserError(
                    f"--only {name}: {self.ablation.path} has no such variant; "
                    f"{nearest(name, known)}"
                )
        keys = {
            stage.key
            for pipeline in self.pipelines
            if pipeline.experiment.variant.name in names
            for stage in pipeline.stages()
        }
        return evolve(self, stages=tuple(each for each in self.stages if each.stage.key in keys))


def make_plan(
    ablation: Ablation,
    workspace: Workspace,
    known: Callable[[Pipeline], bool] = lambda pipeline: False,
) -> Plan:
    """Resolve every experiment to stages and look them up in the store.

    A pipeline that is `known` from elsewhere and not measured in this store has no stages in the
    plan.

    Raises UserError when a component refuses its settings together with the data or the rest of the
    experiment, and for missing weights, which it names with their variant; and MissingDataError for
    data that are not there.
    """
    store = workspace.store
    ablation, skipped = _with_weights(ablation, workspace)
    if ablation.primary:
        check_measurement(ablation, ablation.primary, "primary")
    for index, name in enumerate(ablation.leaderboard):
        check_measurement(ablation, name, f"leaderboard[{index}]")
    layouts = _layouts(ablation, workspace)
    _check_segment_names(ablation, layouts)
    checks = Checks(ablation, workspace, _prefixes(layouts, ablation.first_tokens))
    held_out = _held_out(ablation, workspace)
    pipelines: list[Pipeline] = []
    drawn: set[str] = set()
    for experiment in ablation.experiments:
        with _named(ablation, experiment):
            pipeline = _pipeline(experiment, checks, held_out, workspace)
        if experiment.variant.name not in drawn:
            drawn.add(experiment.variant.name)
            pipeline = evolve(pipeline, pictures=_pictures(pipeline, checks.prefixes, workspace))
        pipelines.append(pipeline)
    estimator = Estimator(workspace)
    planned: dict[str, PlannedStage] = {}
    for pipeline in pipelines:
        if known(pipeline) and not pipeline.is_measured(store):
            continue
        for stage in pipeline.stages():
            if stage.key not in planned:
                found = store.find(stage.key)
                if found is None and isinstance(stage, Imported):
                    raise UserError(
                        f"{ablation.path}: the {stage.kind.replace('-', ' ')} "
                        f"{store.artifact(stage.key)} is damaged; import the checkpoint again"
                    )
                flops = recorded_flops(found.manifest) if found else estimator.flops(stage)
                seconds = 0.0 if found else estimator.seconds(stage)
                planned[stage.key] = PlannedStage(
                    stage,
                    pipeline.experiment.name,
                    found is not None,
                    seconds,
                    flops,
                    parameters(stage, workspace),
                )
    return Plan(ablation, tuple(pipelines), tuple(planned.values()), (*checks.notes(), *skipped))


@contextmanager
def _named(ablation: Ablation, experiment: Experiment) -> Iterator[None]:
    """Errors that do not name the file get it, and where there are several the variant."""
    try:
        yield
    except UserError as error:
        if isinstance(error, MissingDataError) or str(error).startswith(f"{ablation.path}: "):
            raise
        raise UserError(_of_variant(ablation, experiment, str(error))) from error.__cause__


def _of_variant(ablation: Ablation, experiment: Experiment, text: str) -> str:
    """A message with the file, and where there are several the variant, in front."""
    variant = f"variant {experiment.variant.name!r}: " if len(ablation.variants) > 1 else ""
    return f"{ablation.path}: {variant}{text}"


def _with_weights(ablation: Ablation, workspace: Workspace) -> tuple[Ablation, tuple[str, ...]]:
    """The ablation without variants whose released weights are missing, and a line for each.

    Raises UserError for the first of them unless `skip_missing_weights` is set, for weights that do
    not fit, and where no variant is left.
    """
    missing: dict[str, str] = {}
    for experiment in ablation.experiments:
        workspace.open_data(experiment.data)  # which may be missing too, and is not meant here
        if experiment.tokenizer_training.imported:
            continue
        try:
            with _named(ablation, experiment):
                _tokenizer(experiment, workspace, check_weights=True)
        except MissingDataError as error:
            if not ablation.skip_missing_weights:
                raise UserError(_of_variant(ablation, experiment, str(error))) from None
            missing[experiment.variant.name] = str(error)
    if not missing:
        return ablation, ()
    kept = [each.name for each in ablation.variants if each.name not in missing]
    more = f", and those of {len(missing) - 1} more variants" if len(missing) > 1 else ""
    reason = f"{next(iter(missing.values()))}{more}; docs/zoo.md says where they are"
    if not kept:
        raise UserError(f"{ablation.path}: no variant's weights are there: {reason}")
    notes = tuple(f"skipped {name}: {reason}" for name, reason in missing.items())
    return evolve(ablation.with_variants(kept), skipped=notes), notes


def _layouts(ablation: Ablation, workspace: Workspace) -> list[TokenLayout]:
    """The token layout of each experiment."""
    layouts = []
    for experiment in ablation.experiments:
        with _named(ablation, experiment):
            layouts.append(_tokenizer(experiment, workspace).layout)
    return layouts


def _check_segment_names(ablation: Ablation, layouts: Sequence[TokenLayout]) -> None:
    """Temperatures and guidance may name only segments that some variant has."""
    known = {name for layout in layouts for name in layout.names}
    for experiment in ablation.experiments:
        for name in sorted(experiment.sampling.named_segments() - known):
            raise UserError(
                f"{ablation.path}: sampling: no variant's tokens have a segment {name!r}; "
                f"{nearest(name, {*known, 'default'})}"
            )


def _prefixes(layouts: Sequence[TokenLayout], more: Sequence[int]) -> tuple[int, ...]:
    """Lengths of the leading segments of variants that have more than one segment, and `more`."""
    return tuple(sorted({*more, *(layout.leading for layout in layouts if layout.leading)}))


def _held_out(ablation: Ablation, workspace: Workspace) -> int:
    """How many training images are held out of all trainings, for searches of sampling settings.

    Variants that search hold them out of those that do not, too: all variants learn from the same
    images.
    """
    place = f"{ablation.path}: sampling.search.validation_images"
    searches = [
        each.sampling.search for each in ablation.experiments if each.sampling.search is not None
    ]
    counts = sorted({search.validation_images for search in searches})
    if len(counts) > 1:
        raise UserError(
            f"{place}: found {' and '.join(map(str, counts))}, expected one number: "
            "all variants learn from the same images"
        )
    for experiment in ablation.experiments if counts else ():
        images = len(workspace.open_data(experiment.data).labels("train"))
        if 2 * counts[0] > images:
            raise UserError(
                f"{place}: found {counts[0]}, expected at most half of the {images} training "
                "images, since no training sees the images that are searched on; "
                "set a smaller number"
            )
    return counts[0] if counts else 0


def _pipeline(
    experiment: Experiment, checks: Checks, held_out: int, workspace: Workspace
) -> Pipeline:
    fingerprint = workspace.open_data(experiment.data).fingerprint
    data = DataRef(resolved=experiment.data, fingerprint=fingerprint, held_out=held_out)
    model = _tokenizer(experiment, workspace)
    tokenizer = _tokenizer_stage(experiment, data, model, workspace)
    needs = {need for metric in experiment.metrics for need in needs_of(metric)}
    reads_train = not experiment.metrics or bool(needs & (OF_GENERATORS | {"tokens"}))
    tokens = EncodeImages(tokenizer=tokenizer, train=reads_train or not model.frozen)
    reconstructions = Reconstruct(tokens=tokens, continuous=isinstance(model, ContinuousTokenizer))
    generator = _generator_stage(experiment, tokens, model, workspace)
    left_out = checks.of(experiment, model, tokenizer, generator)
    places = {each.place for each in left_out}
    search = None
    if experiment.search_metric is not None:
        search = SearchSampling(
            generator=generator,
            sampling=experiment.sampling,
            metric=_samples_metric(experiment.search_metric),
        )
    sampling = evolve(experiment.sampling, seed=experiment.sampling_seed)
    samples = SampleImages(generator=generator, sampling=sampling, search=search)
    measures = tuple(
        Measure(
            metric=metric,
            samples=samples,
            reconstructions=reconstructions,
            prefixes=checks.prefixes,
            needs=needs_of(metric),
            layout=model.layout,
        )
        for place, metric in enumerate(experiment.metrics)
        if place not in places
    )
    return Pipeline(
        experiment,
        tokenizer,
        tokens,
        reconstructions,
        generator,
        samples,
        measures,
        model.layout,
        left_out,
    )


def _pictures(
    pipeline: Pipeline, prefixes: tuple[int, ...], workspace: Workspace
) -> tuple[PictureStage, ...]:
    """The pictures of a variant.

    Rows of samples share a variant's prologue, and of others equally many first tokens as the
    shortest prologue has; other rows share one of these tokens each.
    """
    pictures: list[PictureStage] = [
        PictureReconstructions(reconstructions=pipeline.reconstructions)
    ]
    if pipeline.generates:
        shared = pipeline.layout.leading or min(prefixes, default=0)
        shared = shared if shared < pipeline.layout.length else 0
        pictures.append(PictureSamples(samples=pipeline.samples, shared=shared))
        resolved = pipeline.generator.generator
        labels = workspace.data_of(pipeline.tokenizer).spec.labels
        generator = workspace.generator_on_meta(resolved, pipeline.layout, labels)
        # Generators of other kinds may be able to fix only first tokens.
        if shared > 1 and isinstance(generator, AutoregressiveGenerator):
            places = spread(shared, SHARED_TOKENS)
            pictures.append(PictureTokens(samples=pipeline.samples, places=places))
        if shows_attention(resolved, pipeline.layout, labels, workspace):
            pictures.append(
                PictureAttention(tokens=pipeline.tokens, generator=pipeline.generator, first=shared)
            )
    return tuple(pictures)


def _tokenizer_stage(
    experiment: Experiment, data: DataRef, model: Tokenizer, workspace: Workspace
) -> TokenizerStage:
    training = experiment.tokenizer_training
    fits = tokenizer_fits(workspace.open_data(experiment.data).spec)
    if training.imported:
        key = find_imported(
            workspace.store, "tokenizer", training.imported, experiment.tokenizer, fits
        )
        return ImportedTokenizer(data=data, tokenizer=experiment.tokenizer, imported=key)
    foundation: TokenizerStage | None = None
    if experiment.foundation is not None and training.foundation_imported:
        key = find_imported(
            workspace.store, "tokenizer", training.foundation_imported, experiment.foundation, fits
        )
        foundation = ImportedTokenizer(data=data, tokenizer=experiment.foundation, imported=key)
    elif experiment.foundation is not None:
        base = workspace.tokenizer_on_meta(experiment.foundation, experiment.data)
        foundation = _trained(experiment, experiment.foundation, data, base, None, workspace)
    return _trained(experiment, experiment.tokenizer, data, model, foundation, workspace)


def _trained(
    experiment: Experiment,
    tokenizer: Resolved,
    data: DataRef,
    model: Tokenizer,
    foundation: TokenizerStage | None,
    workspace: Workspace,
) -> TrainTokenizer:
    if model.frozen:  # its weights depend on no training, and not on its seed
        return TrainTokenizer(
            data=data,
            tokenizer=tokenizer.kept_as,
            training=TokenizerTraining(),
            prior=None,
            seed=0,
            foundation=foundation,
            images=workspace.open_data(experiment.data).spec,
        )
    losses = experiment.losses if model.reconstructs else ()
    return TrainTokenizer(
        data=data,
        tokenizer=tokenizer.kept_as,
        training=experiment.tokenizer_training,
        prior=_prior(experiment) if model.prior is not None else None,
        seed=experiment.seed,
        losses=losses,
        losses_learn=any(loss_class(loss).learns for loss in losses),
        reconstructs=model.reconstructs,
        foundation=foundation,
    )


def _prior(experiment: Experiment) -> Resolved:
    """The generator that a tokenizer is trained with. Raises UserError where there is none."""
    if experiment.prior is None:
        raise UserError(
            f"tokenizer_training.prior: missing; tokenizer {experiment.tokenizer.name!r} with "
            "these settings learns from a generator, and no installed one is the default; "
            "expected {use: NAME}"
        )
    return experiment.prior


def _generator_stage(
    experiment: Experiment, tokens: EncodeImages, model: Tokenizer, workspace: Workspace
) -> GeneratorStage:
    training = experiment.generator_training
    if training.imported and not isinstance(model, ContinuousTokenizer):
        fits = generator_fits(model.layout, workspace.open_data(experiment.data).spec.labels)
        key = find_imported(
            workspace.store, "generator", training.imported, experiment.generator, fits
        )
        return ImportedGenerator(tokens=tokens, generator=experiment.generator, imported=key)
    if training.joint:
        prior = _trained_prior(experiment, tokens, model, "joint", "joint: false")
        if not experiment.tokenizer_training.prior_labels:
            raise UserError(
                "generator_training.joint: the joint prior sees no labels; "
                "set tokenizer_training.prior_labels: true"
            )
        dropped = model.prior.input_dropout if model.prior else {}
        if unseen := [name for name, share in dropped.items() if share == 1]:
            raise UserError(
                f"generator_training.joint: the joint prior never sees {unseen[0]} tokens, and "
                "cannot draw by them; expected a tokenizer that drops fewer than all of its inputs"
            )
        return TakePrior(tokens=tokens, generator=prior.kept_as)
    if training.start == "joint-prior" and not isinstance(model, ContinuousTokenizer):
        prior = _trained_prior(experiment, tokens, model, "start", "start: new")
        _check_alike(experiment.generator, prior)
    generator = experiment.generator.kept_as
    return TrainGenerator(
        tokens=tokens, generator=generator, training=training, seed=experiment.seed
    )


def _trained_prior(
    experiment: Experiment, tokens: EncodeImages, model: Tokenizer, setting: str, otherwise: str
) -> Resolved:
    """The joint prior whose weights a setting of generator_training takes over.

    Raises UserError where none is trained here.
    """
    if model.prior is None:
        raise UserError(
            f"generator_training.{setting}: tokenizer {experiment.tokenizer.name!r} with these "
            f"settings has no joint prior; expected one that has, or {otherwise}"
        )
    if isinstance(tokens.tokenizer, ImportedTokenizer):
        raise UserError(
            f"generator_training.{setting}: the tokenizer is imported, without a prior; "
            "set generator_training.imported too"
        )
    return _prior(experiment)


def _check_alike(generator: Resolved, prior: Resolved) -> None:
    """Raises UserError where a generator cannot start from the weights of a joint prior."""
    if generator.name != prior.name:
        differs = f"they are {generator.name!r} and {prior.name!r}"
    elif names := differing_models(generator.settings, prior.settings):
        differs = f"they differ in {', '.join(names)}"
    else:
        return
    raise UserError(
        "generator_training.start: joint-prior: found a generator unlike "
        f"tokenizer_training.prior, expected one of its kind and size; {differs}"
    )


def _tokenizer(
    experiment: Experiment, workspace: Workspace, check_weights: bool = False
) -> Tokenizer:
    """The experiment's tokenizer without memory for its weights."""
    try:
        if check_weights:
            workspace.check_weights(experiment.tokenizer, experiment.data)
        tokenizer = workspace.tokenizer_on_meta(experiment.tokenizer, experiment.data)
        if tokenizer.prior is not None:
            tokenizer.prior.check(tokenizer.layout)
    except UserError:
        raise
    except ValueError as error:  # `check`'s alone: building a tokenizer raises UserError
        raise UserError(f"tokenizer: {experiment.tokenizer.name!r}: {error}") from None
    return tokenizer


def _samples_metric(metric: Resolved) -> Resolved:
    """A metric that needs samples and nothing else. Raises UserError for others."""
    needs = needs_of(metric)
    if needs != ("samples",):
        raise UserError(
            f"sampling.search.metric: {metric.name!r} needs {', '.join(needs)}; "
            "expected a metric of samples"
        )
    return metric
