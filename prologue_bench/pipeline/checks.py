"""What is known before anything is trained: what cannot work, and which metrics do not apply."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from attrs import evolve, field, frozen

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.experiments import Experiment, Resolved
from prologue_bench.config.settings import Training
from prologue_bench.contracts.components import Component
from prologue_bench.contracts.data import SPLITS, DataSource
from prologue_bench.contracts.generator import Generator
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.metric import PlannedInputs
from prologue_bench.contracts.tokenizer import ContinuousTokenizer, Tokenizer
from prologue_bench.errors import DoesNotApply, MissingDataError, UserError, nearest
from prologue_bench.guard import brief, pass_interrupt, place_of
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.held_out import HeldOut
from prologue_bench.pipeline.models import (
    build_metric,
    check_loss,
    needs_of,
)
from prologue_bench.pipeline.nominal import NominalData
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.results.left_out import notes_on
from prologue_bench.training import distributed
from prologue_bench.training.tracking import check_trackers

OF_GENERATORS = {"samples", "generator", "likelihood", "attention", "draw", "costs"}
"""Needs of metrics for which a generator is trained."""
OF_CONTINUOUS = {"reconstructions"}
"""Needs that a tokenizer without ids can meet."""


@frozen
class LeftOut:
    """A metric that does not apply to a variant, and why."""

    metric: str
    """Its name, or "generator" where none can be trained."""
    variant: str
    reason: str
    place: int
    """Among the metrics that were asked for; -1 of the generator."""


@frozen
class Checks:
    """The checks of an ablation's variants, each once for all of its seeds."""

    ablation: Ablation
    workspace: Workspace
    prefixes: tuple[int, ...]
    missing: list[str] = field(factory=list, init=False)
    """What is not at hand where the data are not either."""
    _left_out: dict[str, tuple[LeftOut, ...]] = field(factory=dict, init=False)

    def of(
        self,
        experiment: Experiment,
        model: Tokenizer,
        tokenizer: stages.TokenizerStage,
        generator: stages.GeneratorStage,
    ) -> tuple[LeftOut, ...]:
        """The metrics that do not apply to the experiment's variant.

        Raises UserError for what cannot work.
        """
        name = experiment.variant.name
        if name not in self._left_out:
            several = len(self.ablation.variants) > 1
            where = f"{self.ablation.path}: {f'variant {name!r}: ' if several else ''}"
            variant = _Variant(
                self.workspace,
                experiment,
                model,
                tokenizer,
                generator,
                self.prefixes,
                where,
                self.missing,
            )
            self._left_out[name] = variant.left_out()
        return self._left_out[name]

    def notes(self) -> tuple[str, ...]:
        """A line for each metric that does not apply, and for each thing that is missing."""
        left_out = [
            (each.metric, each.variant, each.reason)
            for of in self._left_out.values()
            for each in of
        ]
        return (*notes_on(left_out, len(self.ablation.variants)), *dict.fromkeys(self.missing))


@frozen
class _Variant:
    workspace: Workspace
    experiment: Experiment
    model: Tokenizer
    tokenizer: stages.TokenizerStage
    generator: stages.GeneratorStage
    prefixes: tuple[int, ...]
    where: str
    missing: list[str]

    @property
    def data(self) -> DataSource:
        return self.workspace.data_of(self.tokenizer)

    @property
    def _no_ids(self) -> str:
        return f"{self.tokenizer.tokenizer.component.called('tokenizer')} has no ids"

    @property
    def whole(self) -> DataSource:
        """With the images that are held out for a search."""
        return self.workspace.open_data(self.experiment.data)

    def left_out(self) -> tuple[LeftOut, ...]:
        """The metrics that do not apply. Raises UserError for what cannot work."""
        metrics = self.experiment.metrics
        with self._at("data"):
            _check_data(self.data)
        self._check_tokenizer_training()
        continuous = isinstance(self.model, ContinuousTokenizer)
        generates = not continuous and (
            not metrics or any(OF_GENERATORS & set(needs_of(metric)) for metric in metrics)
        )
        imported: dict[typing.Literal["tokenizer", "generator"], bool] = {
            "tokenizer": any(
                isinstance(each, stages.Imported)
                for each in (self.tokenizer, *self.tokenizer.inputs)
            ),
            "generator": isinstance(self.generator, stages.Imported),
        }
        inputs = PlannedInputs(
            data=self.data,
            layout=self.model.layout,
            prefixes=self.prefixes,
            samples=self.experiment.sampling.samples,
            tokenizer=self.model,
            generator=self._made_generator() if generates else None,
            imported=frozenset(name for name, elsewhere in imported.items() if elsewhere),
        )
        name = self.experiment.variant.name
        left_out = [LeftOut("generator", name, self._no_ids, -1)] if continuous else []
        for index, metric in enumerate(metrics):
            try:
                self._check_metric(metric, inputs, f"metrics[{index}]")
            except DoesNotApply as reason:
                left_out.append(LeftOut(metric.name, name, str(reason), index))
        if generates:
            self._check_search(inputs)
        return tuple(left_out)

    def _check_tokenizer_training(self) -> None:
        if isinstance(self.tokenizer, stages.Imported) or self.model.frozen:
            return
        self._check_training(self.experiment.tokenizer_training, "tokenizer_training")
        if self.tokenizer.foundation is not None:
            with self._at("tokenizer"):
                _check_foundation(self.model, self.tokenizer.foundation, self.workspace)
        for index, loss in enumerate(self.tokenizer.losses):
            with self._at(f"tokenizer_training.losses[{index}]"):
                check_loss(loss, self.data.spec)
        if self.tokenizer.prior is not None:
            with self._at("tokenizer_training.prior"):
                self.workspace.prior_on_meta(
                    self.tokenizer.prior, self.model.layout, self.data.spec.labels
                )

    def _made_generator(self) -> Generator:
        if isinstance(self.generator, stages.TrainGenerator):
            self._check_training(self.experiment.generator_training, "generator_training")
        with self._at("generator"):
            return self.workspace.generator_on_meta(
                self.generator.generator, self.model.layout, self.data.spec.labels
            )

    def _check_training(self, training: Training, section: str) -> None:
        with self._at(section):
            distributed.check_batch_size(training)
            check_trackers(training)

    def _check_search(self, inputs: PlannedInputs) -> None:
        """The search measures fewer samples, against training images."""
        metric, search = self.experiment.search_metric, self.experiment.sampling.search
        if metric is None or search is None:
            return
        tried = evolve(
            inputs,
            data=HeldOut(self.whole, self.tokenizer.data.held_out),
            samples=search.samples,
            prefixes=(),
        )
        try:
            self._check_metric(metric, tried, "sampling.search.metric")
        except DoesNotApply as error:
            raise UserError(
                f"{self.where}sampling.search.metric: {metric.name} does not apply: {error}"
            ) from None

    def _check_metric(self, metric: Resolved, inputs: PlannedInputs, place: str) -> None:
        """Raises DoesNotApply, and UserError for what cannot work."""
        with self._at(place):
            self._check_needs(needs_of(metric), inputs)
            build_metric(metric).check(inputs)

    def _check_needs(self, needs: tuple[str, ...], inputs: PlannedInputs) -> None:
        """Raises DoesNotApply where the variant's models have nothing of what a metric needs."""
        if isinstance(self.model, ContinuousTokenizer) and set(needs) - OF_CONTINUOUS:
            raise DoesNotApply(self._no_ids)
        who, generator = self.generator.generator.component.called("generator"), inputs.generator
        if "likelihood" in needs and not (generator and generator.has_likelihood):
            raise DoesNotApply(f"{who} has no likelihood")
        if "attention" in needs and not (
            generator
            and shows_attention(
                self.generator.generator, generator.layout, self.data.spec.labels, self.workspace
            )
        ):
            raise DoesNotApply(f"{who} does not show its attention")

    @contextmanager
    def _at(self, place: str) -> Iterator[None]:
        """Errors get their place.

        What is missing does not matter yet where the images are missing too.
        """
        try:
            yield
        except DoesNotApply:
            raise
        except MissingDataError as error:
            if not isinstance(self.whole, NominalData):
                raise UserError(f"{self.where}{place}: {error}") from None
            self.missing.append(f"{self.where}{place}: {error}")
        except UserError as error:
            raise UserError(f"{self.where}{place}: {error}") from None
        except BaseException as error:  # whatever a plugin does
            pass_interrupt(error)
            raise UserError(
                f"{self.where}{place}: cannot be checked: {brief(error)}{place_of(error)}"
            ) from error


def shows_attention(
    resolved: Resolved, layout: TokenLayout, labels: int, workspace: Workspace
) -> bool:
    """Whether a generator has attention to show, as far as can be told without its weights."""
    generator = workspace.generator_on_meta(resolved, layout, labels)
    if type(generator).attention is Generator.attention:
        return False
    small = workspace.small_generator(resolved, layout, labels)
    try:
        with torch.device("cpu" if small else "meta"), torch.no_grad():
            ids, none = torch.zeros(1, layout.length).long(), torch.zeros(1).long()
            return (small or generator).attention(ids, none) is not None
    except Exception:  # one that cannot run without memory will tell when it is measured
        return True


def _check_foundation(
    model: Tokenizer, foundation: stages.TokenizerStage, workspace: Workspace
) -> None:
    """Raises UserError where a weight of the foundation has no place in what builds on it."""
    own = model.state_dict()
    base = workspace.tokenizer_on_meta(foundation.tokenizer, foundation.data.resolved)
    for name, weight in base.state_dict().items():
        if name not in own or own[name].shape != weight.shape:
            found = f"{list(own[name].shape)}" if name in own else "none"
            raise UserError(
                f"it builds on {foundation.tokenizer.name!r}, "
                f"whose {name!r} is {list(weight.shape)}; found {found} of that name, "
                "expected the same shape"
            )


def _check_data(data: DataSource) -> None:
    """Raises UserError for a split without images, and for labels of no class."""
    highest = max(0, len(data.spec.class_names) - 1)
    for split in SPLITS:
        labels = data.labels(split)
        if not len(labels):
            raise UserError(f"found no {split} images, expected at least one")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high > highest:
            raise UserError(f"found {split} labels from {low} to {high}, expected 0 to {highest}")


def check_measurement(ablation: Ablation, name: str, place: str) -> None:
    """Raises UserError for the name of a number that no metric of the ablation gives.

    Names of numbers are those of their metrics, or begin with them or as they say, as far as is
    known.
    """
    own = [each.component for each in ablation.experiments[0].metrics]
    if any(is_of(name, each) or not each.is_own for each in own):
        return
    names = [each.name for each in own]
    known = ablation.registry.entries["metric"].values()
    others = [each.component.name for each in known if is_of(name, each.component)]
    if others:
        raise UserError(
            f"{ablation.path}: {place}: found {name!r}, and {others[0]!r} is not among its "
            f"metrics, {', '.join(names)}; add it to `metrics`"
        )
    begin = [*names, *(start for each in own for start in each.numbers)]
    raise UserError(f"{ablation.path}: {place}: unknown metric {name!r}; {nearest(name, begin)}")


def is_of(number: str, metric: Component) -> bool:
    """Whether a number may be of this metric: `probe_4` of probe, `recall` of precision-recall."""
    starts = (metric.name.replace("-", "_"), *metric.name.split("-"), *metric.numbers)
    return any(f"{number}_".startswith(f"{start}_") for start in starts)
