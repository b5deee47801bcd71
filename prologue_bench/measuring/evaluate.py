"""A tokenizer measured on a data set, without an ablation: two functions are enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from prologue_bench.config.experiments import Resolved
from prologue_bench.contracts.data import DataSource
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.metric import MetricInputs, PlannedInputs
from prologue_bench.contracts.subsets import class_balanced, describe_choice
from prologue_bench.contracts.tokenizer import Tokenizer
from prologue_bench.errors import UserError
from prologue_bench.guard import brief, shown
from prologue_bench.measuring.coding import (
    Coded,
    Coding,
    Decode,
    Encode,
    coder_of,
    layout_of,
)
from prologue_bench.measuring.numbers import Advance, check_whole, left_out, measured
from prologue_bench.measuring.result import ImageMeasurements
from prologue_bench.measuring.sources import (
    SEED,
    Reference,
    Source,
    open_source,
    taken,
)
from prologue_bench.measuring.wanted import Metrics, is_paired, split_settings, wanted
from prologue_bench.pipeline.estimates import machine
from prologue_bench.pipeline.models import needs_of
from prologue_bench.registry import Registry
from prologue_bench.results.schema import MeasurementRecord
from prologue_bench.storage.files import temporary_array
from prologue_bench.storage.store import Store, default_store
from prologue_bench.training.context import INFERENCE_BATCH, first_device

OFFERED = {"reconstructions", "tokens", "test_tokens", "tokenizer", "prefixes"}
"""What a metric may need here."""
OF_TOKENS = {"tokens", "test_tokens"}
ROLES = ("measure", "metrics")
"""Of metrics that are measured where none are named: those that there is something for."""


def evaluate(
    encode: Encode | Tokenizer,
    decode: Decode | None = None,
    *,
    data: str | DataSource,
    metrics: Metrics | None = None,
    codes: int | None = None,
    limit: int | None = None,
    value_range: tuple[float, float] | None = None,
    batch_size: int = INFERENCE_BATCH,
    device: str | torch.device | None = None,
    settings: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    cache: Path | None = None,
    advance: Advance | None = None,
) -> ImageMeasurements:
    """Measure how well a tokenizer reconstructs the test images of a data set, and how it codes.

    Args:
        encode: a function that takes images, float32 [B, C, H, W] in [-1, 1], and gives what
            `decode` takes: ids, integers [B, ...], or anything else, such as latents. Or a
            `Tokenizer` in place of both functions.
        decode: a function that gives images for that, floats [B, C, H, W] in [-1, 1]; what lies
            outside is clamped.
        data: the name of a data set, or a `DataSource`.
        metrics: names, or mappings with `use` and settings as in an ablation. None takes those of
            reconstructions and tokens that are the default of `measure` or of ablations.
        codes: how many codes there are, for functions. Without it, the largest id found tells.
        limit: take at most so many test images, as many of every class as of any other, with
            seed 0. Distances still compare with all test images.
        value_range: lowest and highest value of the images that the functions take and give, such
            as (0, 1); by default (-1, 1).
        batch_size: images at once, B; the last batch may have fewer.
        device: where the images lie that `encode` is given. By default it is that of the model's
            weights where `encode` or `decode` is a module or a method of one, else the CPU.
        settings: of all metrics that have them ("few_samples"), of one ("rfid.extractor"), or of
            the data set ("data.root").
        registry: of components; by default all that are installed.
        cache: folder in which features are kept; by default that of the default store.
        advance: told of progress.

    Modules are put into evaluation mode while they are called, and gradients are off. Where there
    are ids, the result holds bits per image and per pixel beside the metrics' numbers: what the ids
    take at equal lengths, log2 of the codes for each.

    Raises UserError in one line for everything that does not fit, errors of the functions among
    it, and StageError for what only measuring shows, such as features that are no numbers.
    """
    registry = registry or Registry.load()
    chosen, own_data = split_settings(settings)
    _check_numbers(limit, codes, batch_size, value_range)
    coder = coder_of(encode, decode)
    if coder.tokenizer is not None and codes is not None:
        raise UserError("codes: found beside a Tokenizer, whose layout says it; leave it out")
    with registry.blaming(UserError):
        names = _usual(registry) if metrics is None else metrics
        resolved = wanted(names, chosen, registry)
        for each in resolved:
            _check_needs(each, coder.tokenizer is not None)
        source = open_source(data, "data", registry, 0, own_data)
        places = _places(source, limit)
        images = taken(source.images, places)
        coding = Coding(coder, _usable(device or coder.device), batch_size, _as_floats(value_range))
        coded = coding.reconstruct(
            images,
            temporary_array((len(images), *source.images[:1].shape[1:])),
            lambda done, total: advance("reconstructions", done, total) if advance else None,
        )
        task = _Task(source=source, places=places, coding=coding, coded=coded, codes=codes)
        records, notes = [], list(source.data.notes)
        if places is not None:
            notes.append(f"measured: a {task.choice}")
        if task.layout is None:
            notes.append(f"tokens are not counted: encode gives {coded.latents}, no integers")
        for each in resolved:
            if task.layout is None and OF_TOKENS & set(needs_of(each)):
                if metrics is not None:
                    raise UserError(
                        f"{each.name}: encode gave {coded.latents}, expected ids, integers [B, ...]"
                    )
                continue
            with left_out(each, notes, explicit=metrics is not None):
                records += task.measured(each, cache or Store(default_store()).cache, advance)
        for each in _of_all_tokens(resolved, registry) if task.layout is not None else ():
            records += task.measured(each, cache or Store(default_store()).cache, advance)
    if not records:
        raise UserError(f"nothing was measured: {'; '.join(notes)}")
    name = type(encode).__name__ if coder.tokenizer is not None else "reconstructions"
    return ImageMeasurements(
        images=name, reference=source.title, records=tuple(records), notes=tuple(notes)
    )


def _check_numbers(limit: object, codes: object, batch_size: object, value_range: object) -> None:
    for name, value, least in (
        ("limit", limit, 1),
        ("codes", codes, 2),
        ("batch_size", batch_size, 1),
    ):
        check_whole(name, value, least)
    if value_range is None:
        return
    try:
        low, high = map(float, value_range)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if not -math.inf < low < high < math.inf:
        raise UserError(
            f"value_range: found {shown(value_range)}, expected the lowest and the highest value "
            "of images, such as (0, 1)"
        )


def _usable(device: str | torch.device) -> torch.device:
    """A device that images can be put on. Raises UserError for one that there is not."""
    try:
        return torch.empty(0, device=device).device
    except Exception as error:  # of many kinds, by torch and its backends
        raise UserError(
            f"device: found {str(device)!r}, expected one of this machine, such as 'cpu': "
            f"{brief(error)}"
        ) from None


def _as_floats(given: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if given is None else (float(given[0]), float(given[1]))


def _usual(registry: Registry) -> list[str]:
    """The metrics that are measured where none are named."""
    found = [name for role in ROLES for name in registry.defaults("metric", role)]
    return [
        name
        for name in dict.fromkeys(found)
        if set(registry.find("metric", name).load().needs) <= {"reconstructions", *OF_TOKENS}
    ]


def _of_all_tokens(named: Sequence[Resolved], registry: Registry) -> list[Resolved]:
    """The metrics that are measured of tokens in any case, without those that are named."""
    known = {each.name for each in named}
    names = [name for name in registry.defaults("metric", "evaluate") if name not in known]
    return wanted(names, {}, registry) if names else []


def _check_needs(metric: Resolved, has_tokenizer: bool) -> None:
    """Raises UserError for a metric of more than a tokenizer, or of one where there is none."""
    needs = needs_of(metric)
    if set(needs) <= OFFERED - (set() if has_tokenizer else {"tokenizer"}):
        return
    raise UserError(
        f"metric {metric.name!r} needs {', '.join(needs)}, expected a metric of reconstructions or "
        "tokens: there is no generator here"
        + ("" if has_tokenizer or "tokenizer" not in needs else ", and no Tokenizer")
    )


def _places(source: Source, limit: int | None) -> NDArray[np.int64] | None:
    """The test images that are taken; None for all."""
    labels = source.data.labels("test")
    if limit is None or limit >= len(labels):
        return None
    return class_balanced(labels, limit, SEED)


@frozen(kw_only=True, slots=False)
class _Task:
    """Reconstructions and ids of test images, brought to what metrics read."""

    source: Source
    places: NDArray[np.int64] | None
    coding: Coding
    coded: Coded
    codes: int | None

    @cached_property
    def layout(self) -> TokenLayout | None:
        """Of the ids; None where there are none."""
        if self.coded.ids is None:
            return None
        return self.coding.coder.layout or layout_of(self.coded, self.codes)

    @property
    def choice(self) -> str:
        """What protocols say of a part of the test images."""
        data = self.source.data
        whole = len(data.labels("test"))
        return describe_choice(len(self.coded.images), whole, bool(data.spec.class_names), SEED)

    @cached_property
    def added(self) -> dict[str, str]:
        """What protocols say beside what metrics say."""
        return {} if self.places is None else {"chosen": self.choice}

    def measured(
        self, metric: Resolved, cache: Path, advance: Advance | None
    ) -> list[MeasurementRecord]:
        """As `numbers.measured`."""
        count = len(self.coded.images)
        tokenizer = self.coding.coder.tokenizer
        # Even a metric that needs nothing may go by the layout.
        of_tokens = needs_of(metric) != ("reconstructions",) and self.coding.coder.layout is None
        guessed = (
            {"vocabulary": "as the largest id tells"} if of_tokens and self.codes is None else {}
        )
        return measured(
            metric,
            lambda: self._inputs(metric, cache, advance),
            lambda inputs: PlannedInputs(
                data=inputs.data,
                layout=inputs.layout,
                prefixes=self._prefixes,
                samples=count,
                reconstructions=count,
                tokenizer=tokenizer,
            ),
            {**self.added, **guessed},
        )

    @property
    def _prefixes(self) -> tuple[int, ...]:
        return (self.layout.leading,) if self.layout and self.layout.leading else ()

    def _inputs(self, metric: Resolved, cache: Path, advance: Advance | None) -> MetricInputs:
        needs = needs_of(metric)
        # A distance compares what was taken with all test images; all else, with the same ones.
        of_sets = needs == ("reconstructions",) and not is_paired(metric)
        places = None if of_sets else self.places
        data = Reference(self.source.data, self.source.data.spec.class_names, places)
        return _Inputs(
            metric=metric.name,
            needs=needs,
            data=data,
            layout=self.layout or TokenLayout(()),
            cache=cache,
            batch_size=INFERENCE_BATCH,
            device=first_device(),
            advance=lambda done, total: advance(metric.name, done, total) if advance else None,
            sampling={},
            machine=machine(),
            known={"test": self.source.known} if places is None else {},
            reconstructions=self.coded.images,
            test_ids=self.coded.ids,
            tokenizer=self.coding.coder.tokenizer,
            prefixes=self._prefixes,
            encode_train=lambda: self._train_ids,
        )

    @cached_property
    def _train_ids(self) -> NDArray[np.int64]:
        return self.coding.ids(self.source.data.images("train"))


@frozen(kw_only=True)
class _Inputs(MetricInputs):
    """With the training images encoded for the metrics that ask."""

    encode_train: Callable[[], NDArray[np.int64]]

    @property
    def train_ids(self) -> NDArray[Any]:
        found = self.encode_train() if "tokens" in self.needs else None
        return self._declared("train_ids", "tokens", found)
