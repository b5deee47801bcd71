"""The contract of metrics."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench import seeds
from prologue_bench.config.experiments import Resolved
from prologue_bench.conformance.checks import Broken, Check, Skipped, made, require
from prologue_bench.contracts.checked import check_needs, problem_of_measurement
from prologue_bench.contracts.data import DataSource, Factor, Split
from prologue_bench.contracts.generator import FREE, Generator
from prologue_bench.contracts.images import ImageArray, ImageSpec
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.metric import (
    Measurement,
    Metric,
    MetricInputs,
    PlannedInputs,
    Procedure,
    StageCost,
)
from prologue_bench.contracts.segments import Segment
from prologue_bench.contracts.stage_kinds import TRAIN_TOKENIZER
from prologue_bench.contracts.tokenizer import Tokenizer, TokenizerOutput
from prologue_bench.errors import DoesNotApply, UserError
from prologue_bench.guard import shown
from prologue_bench.pipeline.models import build_metric
from prologue_bench.results.measurements import written

COUNT = 1400
"""Images of each split: more than the features of the usual extractor."""
LAYOUT = TokenLayout((Segment("prologue", 2, 8), Segment("visual", 4, 16, (2, 2))))


def checks(resolved: Resolved, images: ImageSpec, others: Collection[str] = ()) -> list[Check]:
    """All checks of one metric, on made-up images and models.

    None of its numbers may have the name of one of `others`, the numbers of other metrics.
    """
    subject = _Subject(resolved, images, others)
    return [
        Check("needs", "`needs` holds names of artifacts only", subject.needs),
        Check(
            "planning",
            "`check` says what cannot work by UserError or DoesNotApply, or nothing",
            subject.planning,
        ),
        Check(
            "measurements",
            "`measure` gives Measurements with finite values, each name once",
            subject.measurements,
        ),
        Check(
            "protocols",
            "each protocol can be written as JSON, and says what was compared",
            subject.protocols,
        ),
        Check(
            "determinism",
            "the same inputs give the same values, unless they are times, and protocols",
            subject.determinism,
        ),
        Check("inputs", "`measure` leaves its inputs as they were", subject.leaves_inputs),
        Check(
            "classes",
            "a number that depends on the data depends on every class",
            subject.sees_all_classes,
        ),
    ]


class _Subject:
    def __init__(self, resolved: Resolved, images: ImageSpec, others: Collection[str]) -> None:
        self.resolved, self.others = resolved, others
        self.data = _Noise(images)
        self.folder = tempfile.TemporaryDirectory()
        """For what metrics keep between runs, such as features."""

    def make(self) -> Metric:
        return made(lambda: build_metric(self.resolved))

    def needs(self) -> None:
        try:
            check_needs(self.make().needs, "the metric")
        except UserError as error:
            raise Broken(str(error)) from None

    def planning(self) -> None:
        metric = self.make()
        planned = PlannedInputs(
            data=self.data,
            layout=LAYOUT,
            prefixes=(2,),
            samples=COUNT,
            tokenizer=_Blocks(self.data.spec),
            generator=_Chance(self.data.spec.labels),
        )
        try:
            answer: object = metric.check(planned)  # type: ignore[func-returns-value]
        except (UserError, DoesNotApply) as error:
            require(
                "\n" not in str(error) and bool(str(error)),
                f"`check` says {str(error)!r}, expected one line",
            )
            raise Skipped(f"for the made-up inputs it says: {error}") from None
        except Exception as error:
            raise Broken(f"`check` raised {type(error).__name__}: {error}") from None
        require(answer is None, f"`check` returned {answer!r}, expected an error or nothing")

    def measured(self, metric: Metric, inputs: MetricInputs | None = None) -> list[Measurement]:
        with torch.inference_mode():
            found: object = metric.measure(inputs or self.inputs(metric))
        if not isinstance(found, list | tuple):
            raise Broken(f"`measure` gave {shown(found)}, expected a list of Measurements")
        return list(found)

    @functools.cached_property
    def found(self) -> list[Measurement]:
        """What the metric measured the first time."""
        return self.measured(self.make())

    def measurements(self) -> None:
        found = self.found
        require(bool(found), "no measurement at all")
        for each in found:
            problem = problem_of_measurement(each)
            require(not problem, problem)
        names = [each.name for each in found]
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, f"{', '.join(twice)} is given twice")
        taken = [name for name in names if name in self.others]
        require(
            not taken,
            f"{', '.join(taken)} is the name of another metric's number; begin names with the "
            "metric's own",
        )

    def protocols(self) -> None:
        for each in self.found:
            try:
                written(each)  # as `run` does
            except ValueError as error:
                raise Broken(str(error)) from None
            require(
                bool(each.protocol.details),
                f"{each.name}: the protocol says nothing of what was compared",
            )

    def determinism(self) -> None:
        first, again = self.found, self.measured(self.make())
        one, other = (
            {each.name: each.value for each in found if not each.unit.endswith("/s")}
            for found in (first, again)
        )
        differing = [
            name
            for name in one
            if not math.isclose(one[name], other.get(name, math.nan), rel_tol=1e-6)
        ]
        require(
            not differing,
            f"{', '.join(differing)} differ the second time; draw from a seeded generator",
        )
        protocols = {each.name: each.protocol for each in again}
        for each in first:
            told = protocols.get(each.name)
            require(
                told == each.protocol,
                f"{each.name}: its protocol differs the second time{_differing(each, told)}; "
                "leave out what is not of the measurement, or its numbers compare with no others",
            )

    def leaves_inputs(self) -> None:
        metric = self.make()
        inputs = self.inputs(metric)
        arrays = _arrays(inputs)
        before = {name: value.copy() for name, value in arrays.items()}
        self.measured(metric, inputs)
        changed = [
            name for name, value in arrays.items() if not np.array_equal(value, before[name])
        ]
        require(not changed, f"`measure` changes {', '.join(changed)}")

    def sees_all_classes(self) -> None:
        """The made-up data lie class by class.

        What looks at the first or last images only misses a class.
        """
        last = len(self.data.spec.class_names) - 1
        if last < 1 or not self._changes(range(last + 1)):
            return
        for label in (0, last):
            require(
                self._changes([label]),
                f"nothing changes when all images of class {label} do, "
                "though data may lie class by class; take fewer images by `inputs.data.subset` or "
                "`inputs.sample_subset`",
            )

    def _changes(self, classes: Sequence[int]) -> bool:
        """Whether other images and tokens of these classes change any value that is no time."""
        metric = self.make()
        inputs = self.inputs(metric)
        data = _Noise(self.data.spec, changed=tuple(classes))
        changed: dict[str, Any] = {}
        for name, array in _arrays(inputs).items():
            labels = inputs.sample_labels if name == "samples" else data.labels("test")
            rows = np.isin(labels, classes).reshape(-1, *[1] * (array.ndim - 1))
            changed[name] = np.where(rows, array[::-1] // 2, array)
        found = self.measured(metric, attrs.evolve(inputs, data=data, **changed))
        before = {each.name: each.value for each in self.found}
        return any(
            each.value != before.get(each.name) for each in found if not each.unit.endswith("/s")
        )

    def inputs(self, metric: Metric) -> MetricInputs:
        """Made-up artifacts, those that the metric asks for."""
        rng = np.random.default_rng(1)
        noise = np.asarray(self.data.images("test"))
        near = np.clip(noise.astype(int) + rng.integers(-20, 21, noise.shape), 0, 255).astype(
            np.uint8
        )
        ids = [
            np.concatenate(
                [rng.integers(s.vocabulary, size=(COUNT, s.length)) for s in LAYOUT], axis=1
            )
            for _ in range(2)
        ]
        needs = tuple(metric.needs)

        def draw(labels: Tensor, fixed: Tensor | None, seed: int) -> Tensor:
            drawn = seeds.generator("draw", seed)
            found = torch.cat(
                [
                    torch.randint(s.vocabulary, (len(labels), s.length), generator=drawn)
                    for s in LAYOUT
                ],
                dim=1,
            )
            if fixed is not None:
                given = fixed != FREE
                found[:, : fixed.shape[1]][given] = fixed[given]
            return found

        return MetricInputs(
            metric=self.resolved.name,
            needs=needs,
            data=self.data,
            layout=LAYOUT,
            cache=Path(self.folder.name),
            batch_size=100,
            device=torch.device("cpu"),
            prefixes=(2,),
            advance=lambda done, total: None,
            sampling={"temperature": 1.0} if {"samples", "draw"} & set(needs) else {},
            machine="made up",
            draw=draw,
            reconstructions=near,
            samples=np.ascontiguousarray(near[::-1]),
            train_ids=ids[0],
            test_ids=ids[1],
            tokenizer=_Blocks(self.data.spec),
            generator=_Chance(self.data.spec.labels),
            costs={TRAIN_TOKENIZER: StageCost(seconds=1.0, flops=1e9, machine="made up")},
        )


_ARRAYS = {
    "reconstructions": {"reconstructions"},
    "samples": {"samples"},
    "train_ids": {"tokens"},
    "test_ids": {"tokens", "test_tokens"},
}
"""Inputs that are arrays, and what declares them."""


def _arrays(inputs: MetricInputs) -> dict[str, NDArray[Any]]:
    """The arrays that the metric declares."""
    return {name: getattr(inputs, name) for name, of in _ARRAYS.items() if of & set(inputs.needs)}


def _differing(first: Measurement, again: Procedure | None) -> str:
    """Which details of a protocol are others, with " in" before them; empty where none is."""
    details = [dict(each.details) if each is not None else {} for each in (first.protocol, again)]
    one, other = details
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return f" in {', '.join(names)}" if names else ""


class _Noise(DataSource):
    """Smooth random images, class by class; those of changed classes are darker."""

    def __init__(self, images: ImageSpec, changed: tuple[int, ...] = ()) -> None:
        self._spec = images
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (COUNT, images.channels, 4, 4), dtype=np.uint8)
        scale = (-(-images.height // 4), -(-images.width // 4))
        self._images = np.kron(coarse, np.ones((1, 1, *scale), np.uint8))[
            ..., : images.height, : images.width
        ]
        self._labels = np.sort(images.labels_in_turn(COUNT))
        self._images[np.isin(self._labels, changed)] //= 2

    @property
    def spec(self) -> ImageSpec:
        return self._spec

    @property
    def fingerprint(self) -> str:
        return "made up"

    def images(self, split: Split) -> ImageArray:
        return self._images

    def labels(self, split: Split) -> NDArray[Any]:
        return self._labels

    def factors(self, split: Split) -> Mapping[str, Factor]:
        rng = np.random.default_rng(2)
        return {
            "kind": Factor(rng.integers(3, size=COUNT), ("one", "two", "three")),
            "amount": Factor(rng.random(COUNT)),
        }


class _Blocks(Tokenizer):
    """Decodes ids to coarse blocks; for metrics that look at images of tokens."""

    def __init__(self, images: ImageSpec) -> None:
        super().__init__()
        self.images, self.layout = images, LAYOUT

    def encode(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), LAYOUT.length, dtype=torch.int64)

    def decode(self, ids: Tensor) -> Tensor:
        values = ids[:, LAYOUT.span("visual")].float() / 8 - 1
        blocks = values.reshape(-1, 1, 2, 2).expand(-1, self.images.channels, -1, -1)
        return torch.nn.functional.interpolate(blocks, (self.images.height, self.images.width))

    def losses(self, images: Tensor) -> TokenizerOutput:
        raise NotImplementedError


class _Chance(Generator):
    """Every token is as likely as any other of its segment."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.layout = LAYOUT
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {s.name: torch.full((len(ids), s.length), math.log(s.vocabulary)) for s in LAYOUT}

    def losses(self, ids: Tensor, labels: Tensor) -> Tensor:
        return LAYOUT.join(self.nll(ids, labels))

    def attention(self, ids: Tensor, labels: Tensor) -> Tensor:
        return torch.full((1, LAYOUT.length, LAYOUT.length), 1 / LAYOUT.length)
