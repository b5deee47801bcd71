"""Metrics of images alone, on whatever images there are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from prologue_bench.config.experiments import Resolved
from prologue_bench.contracts.images import ImageArray
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.metric import MetricInputs, PlannedInputs
from prologue_bench.contracts.subsets import class_balanced, describe_choice
from prologue_bench.errors import UserError
from prologue_bench.measuring import pairs
from prologue_bench.measuring.numbers import Advance, check_whole, left_out, measured
from prologue_bench.measuring.result import ImageMeasurements
from prologue_bench.measuring.sources import (
    SEED,
    Given,
    Reference,
    Source,
    StatisticsAlone,
    open_source,
    statistics_in,
    taken,
)
from prologue_bench.measuring.wanted import Metrics, is_paired, split_settings, wanted
from prologue_bench.pipeline.models import needs_of
from prologue_bench.registry import Registry
from prologue_bench.results.schema import MeasurementRecord
from prologue_bench.storage.store import Store, default_store
from prologue_bench.training.context import INFERENCE_BATCH, first_device

OF_IMAGES = (("reconstructions",), ("samples",))
"""What a metric may need to be measured on images alone."""
SIZE_RULE = "all images cropped at their centre and resized to {0} x {0}, as ADM does"


def measure(
    images: Given,
    reference: Given,
    metrics: Metrics | None = None,
    *,
    limit: int | None = None,
    size: int | None = None,
    settings: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    cache: Path | None = None,
    advance: Advance | None = None,
) -> ImageMeasurements:
    """Measure images against a reference, without an ablation.

    Args:
        images: a folder, zip, tar or .npz; the name of a data set, whose test images are taken; an
            array uint8 [N, H, W, C], [N, C, H, W] or [N, H, W]; or a `DataSource`.
        reference: the same, or an .npz with mu and sigma, such as ADM's batches.
        metrics: names, or mappings with `use` and settings as in an ablation. None takes those that
            declare the role "measure": of reconstructions, where files of both have the same names,
            and else of samples.
        limit: measure at most so many of the images, as many of every class as of any other where
            classes are known, with seed 0.
        size: edge in pixels to which files are cropped and resized. Without it, images must have
            the size of the reference.
        settings: of all metrics that have them ("few_samples"), of one ("kid.subset_size"), or of
            the data set that is the reference ("data.root").
        registry: of components; by default all that are installed.
        cache: folder in which features are kept; by default that of the default store.
        advance: told of progress.

    Raises UserError in one line for everything that does not fit, and StageError for what only
    measuring shows, such as features that are no numbers.
    """
    registry = registry or Registry.load()
    chosen, own_data = split_settings(settings)
    for name, value in (("limit", limit), ("size", size)):
        check_whole(name, value, 1)
    with registry.blaming(UserError):
        statistics, has_images = statistics_in(reference)
        names = registry.defaults("metric", "measure") if metrics is None else metrics
        offers = {} if statistics is None else {"reference": str(statistics)}
        chosen_metrics = wanted(names, chosen, registry, **offers)
        for each in chosen_metrics:
            _check_of_images(each)
        own = open_source(images, "images", registry, size or 0, {})
        other = None
        if has_images:
            other = open_source(reference, "reference", registry, size or 0, own_data)
        task = _Task(
            images=own,
            reference=other,
            statistics=statistics,
            limit=limit,
            size=size,
            must_pair=metrics is not None and any(map(is_paired, chosen_metrics)),
        )
        records, notes = [], list(task.notes)
        for resolved in chosen_metrics:
            with left_out(resolved, notes, explicit=metrics is not None):
                if metrics is None and not task.is_meant(resolved):
                    continue
                records += task.measured(resolved, cache or Store(default_store()).cache, advance)
    if not records:
        raise UserError(f"nothing was measured: {'; '.join(notes) or 'no metric is installed'}")
    return ImageMeasurements(
        images=task.images.title,
        reference=task.title,
        records=tuple(records),
        notes=tuple(notes),
    )


def _check_of_images(metric: Resolved) -> None:
    """Raises UserError for a metric of more than images."""
    if (needs := needs_of(metric)) not in OF_IMAGES:
        raise UserError(
            f"metric {metric.name!r} needs {', '.join(needs) or 'nothing'}, expected a metric that "
            "needs reconstructions alone or samples alone: there is no model here"
        )


@frozen(kw_only=True, slots=False)
class _Task:
    """Images and their reference, brought to one shape and order."""

    images: Source
    reference: Source | None
    """None for statistics alone."""
    statistics: Path | None
    limit: int | None
    size: int | None
    must_pair: bool
    """Whether each image needs a partner, and not only those with the names of others have one."""

    @property
    def title(self) -> str:
        """What the reference is called."""
        return self.reference.title if self.reference is not None else str(self.statistics)

    @cached_property
    def notes(self) -> list[str]:
        """How the images came to be as they are measured. Raises UserError if they do not fit."""
        sources = [self.images, *([self.reference] if self.reference is not None else [])]
        found = [f"{each.title}: {note}" for each in sources for note in each.data.notes]
        if self._order is not None:
            found.append(f"images are {self._pairing[1]}")
        if self.size:
            found.append(SIZE_RULE.format(self.size))
        if self._limited is not None:
            found.append(f"measured: a {self._choice}")
        return found

    def is_meant(self, metric: Resolved) -> bool:
        """Whether a metric that nobody named says something of these images.

        Files with the names of the reference's are reconstructions, all others samples.
        """
        return (needs_of(metric) == ("samples",)) == (self._order is None)

    @cached_property
    def _pairing(self) -> tuple[pairs.Order | None, str]:
        """The order of the images that is the reference's, and how it is known."""
        if self.reference is not None:
            return pairs.partners(self.images, self.reference, self.must_pair)
        if self.must_pair:
            raise UserError(
                f"{self.title}: found mu and sigma alone, expected the image of each reconstruction"
            )
        return None, ""

    @property
    def _order(self) -> pairs.Order | None:
        return self._pairing[0]

    @cached_property
    def _labels(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Labels of the images [N], in their order here, among the classes that are known.

        Without such, all labels are 0 and there are no names.
        """
        labels, names = self.images.data.labels("test"), self.images.data.spec.class_names
        others: tuple[str, ...] = ()
        if self.reference is not None:
            others = self.reference.data.spec.class_names
            if self._order is not None and others:
                return self.reference.data.labels("test"), others
        labels = labels if self._order is None else labels[self._order]
        if names and others:
            numbers = {name: index for index, name in enumerate(others)}
            if all(name.isdecimal() for name in names):  # they are labels themselves
                numbers = {str(index): index for index in range(len(others))}
            known = set(names) <= numbers.keys()
            labels = np.array([numbers[each] for each in names])[labels] if known else labels
            names = others if known else ()
        return (labels, names) if names else (np.zeros_like(labels), ())

    @cached_property
    def _limited(self) -> NDArray[np.int64] | None:
        """The images that are measured, by their places here; None for all."""
        labels, _ = self._labels
        if self.limit is None or self.limit >= len(labels):
            return None
        return class_balanced(labels, self.limit, SEED)

    @property
    def _choice(self) -> str:
        """What a protocol says of them, as metrics say it of a choice of their own."""
        labels, names = self._labels
        assert self.limit is not None
        return describe_choice(self.limit, len(labels), bool(names), SEED)

    @cached_property
    def _taken(self) -> tuple[ImageArray, NDArray[np.int64] | None]:
        """The images that are measured, and their places in the source; None for all in order."""
        places = self._order
        if self._limited is not None:
            places = self._limited if places is None else places[self._limited]
        images = self.images.images
        if places is not None and np.array_equal(places, np.arange(len(images))):
            places = None
        images = taken(images, places)
        return images if self.reference is None else _fitted(
            images, self.images, self.reference
        ), places

    def measured(
        self, resolved: Resolved, cache: Path, advance: Advance | None
    ) -> list[MeasurementRecord]:
        """As `numbers.measured`."""
        count = len(self._taken[0])
        return measured(
            resolved,
            lambda: self._inputs(resolved, cache, advance),
            lambda inputs: PlannedInputs(
                data=inputs.data,
                layout=inputs.layout,
                prefixes=(),
                samples=count,
                reconstructions=count,
            ),
            self._added,
        )

    def _inputs(self, resolved: Resolved, cache: Path, advance: Advance | None) -> MetricInputs:
        (need,) = needs_of(resolved)
        images, places = self._taken
        labels, class_names = self._labels
        if need == "reconstructions":
            paired = is_paired(resolved)
            data = self._reference(class_names, self._limited if paired else None)
        else:
            data = self._reference(class_names, None)
        whole = data.chosen is None if isinstance(data, Reference) else False
        known = {"test": self.reference.known} if whole and self.reference is not None else {}
        which = hashlib.sha256(b"" if places is None else places.tobytes()).hexdigest()
        known[need] = f"{self.images.known} {data.spec.channels} {which}"
        return MetricInputs(
            metric=resolved.name,
            needs=(need,),
            data=data,
            layout=TokenLayout(()),
            cache=cache,
            batch_size=INFERENCE_BATCH,
            device=first_device(),
            advance=lambda done, total: advance(resolved.name, done, total) if advance else None,
            sampling={},
            known=known,
            reconstructions=images if need == "reconstructions" else None,  # type: ignore[arg-type]
            samples=images if need == "samples" else None,  # type: ignore[arg-type]
            sample_labels=labels if self._limited is None else labels[self._limited],
        )

    def _reference(
        self, class_names: tuple[str, ...], chosen: NDArray[np.int64] | None
    ) -> Reference | StatisticsAlone:
        """The reference as a metric sees it."""
        if self.reference is None:
            assert self.statistics is not None
            spec = attrs.evolve(self.images.data.spec, class_names=class_names)
            return StatisticsAlone(self.statistics, spec)
        return Reference(self.reference.data, class_names, chosen)

    @property
    def _added(self) -> dict[str, str]:
        """What protocols say of what was done to the images before."""
        added: dict[str, str] = {}
        if self.size:
            added["size"] = SIZE_RULE.format(self.size)
        if self._limited is not None:
            added["chosen"] = self._choice
        return added


def _fitted(images: ImageArray, source: Source, reference: Source) -> ImageArray:
    """Images of a source with the channels of its reference. Raises UserError if they don't fit."""
    own, other = source.data.spec, reference.data.spec
    if (own.height, own.width) != (other.height, other.width):
        raise UserError(
            f"{source.title}: found images of {own.width} x {own.height} pixels, expected "
            f"{other.width} x {other.height} as in {reference.title}; resize them, or say with "
            "size (--size 256) to what files of both are cropped and resized"
        )
    if own.channels == other.channels:
        return images
    if own.channels == 1:
        return _Repeated(images, other.channels)
    starts = range(0, len(images), INFERENCE_BATCH)
    parts = (images[start : start + INFERENCE_BATCH] for start in starts)
    if other.channels == 1 and all((part == part[:, :1]).all() for part in parts):
        return _Grey(images)
    raise UserError(
        f"{source.title}: found images of {own.channels} channels, expected {other.channels} as "
        f"in {reference.title}"
    )


@frozen
class _Repeated:
    """Grey images, their level in each channel of a reference: uint8 [N, C, H, W]."""

    images: ImageArray
    channels: int

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        return np.repeat(self.images[index], self.channels, axis=1)


@frozen
class _Grey:
    """The one level of images whose channels are alike: uint8 [N, 1, H, W]."""

    images: ImageArray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        return self.images[index][:, :1]
