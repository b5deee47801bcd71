"""From an ablation to the stages that it needs, in order, each once."""

from __future__ import annotations

from attrs import frozen

from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.interfaces import Tokenizer, TokenLayout
from prologue_bench.pipeline.cost import Estimator
from prologue_bench.pipeline.models import open_data, tokenizer_on_meta
from prologue_bench.pipeline.stages import (
    DataRef,
    EncodeImages,
    Measure,
    Reconstruct,
    SampleImages,
    Stage,
    TrainGenerator,
    TrainTokenizer,
)
from prologue_bench.pipeline.store import Store
from prologue_bench.spec.ablation import Ablation, Experiment, Resolved


@frozen
class Pipeline:
    """The stages of one experiment."""

    experiment: Experiment
    tokenizer: TrainTokenizer
    tokens: EncodeImages
    reconstructions: Reconstruct
    generator: TrainGenerator
    samples: SampleImages
    measures: tuple[Measure, ...]
    layout: TokenLayout

    def stages(self) -> tuple[Stage, ...]:
        """All stages, each behind its inputs."""
        return (self.tokenizer, self.tokens, self.reconstructions, self.generator, self.samples, *self.measures)


@frozen
class PlannedStage:
    """A stage with what is known before it runs."""

    stage: Stage
    experiment: str
    """The first experiment that needs it."""
    cached: bool
    seconds: float | None
    """Estimate; None for a metric never timed on this machine."""


@frozen
class Plan:
    """Everything that an ablation needs."""

    ablation: Ablation
    pipelines: tuple[Pipeline, ...]
    stages: tuple[PlannedStage, ...]

    @property
    def missing(self) -> tuple[PlannedStage, ...]:
        """The stages still to run."""
        return tuple(planned for planned in self.stages if not planned.cached)


def make_plan(ablation: Ablation, store: Store) -> Plan:
    """Resolve every experiment to stages and look them up in the store.

    Raises UserError when a component refuses its settings together with the data, and MissingDataError.
    """
    pipelines = tuple(_pipeline(experiment, _prefixes(ablation)) for experiment in ablation.experiments)
    estimator = Estimator(store)
    planned: dict[str, PlannedStage] = {}
    for pipeline in pipelines:
        for stage in pipeline.stages():
            if stage.key not in planned:
                cached = store.find(stage.key) is not None
                seconds = 0.0 if cached else estimator.seconds(stage)
                planned[stage.key] = PlannedStage(stage, pipeline.experiment.name, cached, seconds)
    return Plan(ablation, pipelines, tuple(planned.values()))


def _prefixes(ablation: Ablation) -> tuple[int, ...]:
    """Lengths of the leading segments of all variants that have more than one segment."""
    layouts = [_tokenizer(experiment).layout for experiment in ablation.experiments]
    return tuple(sorted({layout.segments[0].length for layout in layouts if len(layout.segments) > 1}))


def _pipeline(experiment: Experiment, prefixes: tuple[int, ...]) -> Pipeline:
    data = DataRef(resolved=experiment.data, fingerprint=open_data(experiment.data).fingerprint)
    model = _tokenizer(experiment)
    tokenizer = TrainTokenizer(
        data=data,
        tokenizer=experiment.tokenizer,
        training=experiment.tokenizer_training,
        prior=experiment.prior if model.prior is not None else None,
        seed=experiment.seed,
    )
    tokens = EncodeImages(tokenizer=tokenizer)
    reconstructions = Reconstruct(tokens=tokens)
    generator = TrainGenerator(
        tokens=tokens,
        generator=experiment.generator,
        training=experiment.generator_training,
        seed=experiment.seed,
    )
    samples = SampleImages(generator=generator, sampling=experiment.sampling)
    measures = tuple(
        Measure(
            metric=metric,
            samples=samples,
            reconstructions=reconstructions,
            prefixes=prefixes,
            needs=_needs(metric),
        )
        for metric in experiment.metrics
    )
    return Pipeline(experiment, tokenizer, tokens, reconstructions, generator, samples, measures, model.layout)


def _tokenizer(experiment: Experiment) -> Tokenizer:
    """The experiment's tokenizer without memory for its weights."""
    try:
        return tokenizer_on_meta(experiment.tokenizer, experiment.data)
    except MissingDataError:
        raise
    except UserError as error:
        raise UserError(f"{experiment.variant.name}: {error}") from None


def _needs(metric: Resolved) -> tuple[str, ...]:
    return tuple(metric.component.load().needs)
